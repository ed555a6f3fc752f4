"""The video engine, on the small model: a real pipeline of the real classes, and real files."""

import dataclasses
import hashlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from atelier.contracts.errors import EngineFailed, InvalidRequest, ModelUnusable, OutOfMemory
from atelier.small_models import ensure
from shared.worker_configs import ModelConfig
from wan_service.engine import DiffusersEngine
from wan_service.seam import Phase, Step, VideoRequest, VideoResult

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

REQUEST = VideoRequest(
    "a red boat", "blurry", 64, 96, frames=5, fps=8, steps=3, guidance_scale=6.5, flow_shift=5.0, seed=5
)
STILL = dataclasses.replace(REQUEST, frames=1, still=True)
# Another value for every field but `still`; each must lead to another file.
CHANGES: dict[str, list[Any]] = {
    "prompt": ["a castle"],
    "negative_prompt": ["", "night"],
    "width": [96],
    "height": [128],
    "frames": [6],
    "fps": [24],
    "steps": [4],
    "guidance_scale": [1.0, 3.0],
    "flow_shift": [1.0, 3.0],
    "seed": [0, 6],
}
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are slower on many threads, above all while others want the same cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Path:
    return ensure(["wan"])["wan"]


@pytest.fixture(scope="module")
def engine(model: Path) -> DiffusersEngine:
    return loaded(model)


@pytest.fixture(scope="module")
def baseline(engine: DiffusersEngine) -> VideoResult:
    """What `REQUEST` makes."""
    return make(engine)


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may break."""
    return shutil.copytree(model, tmp_path / "model")


def loaded(source: Path, **config: Any) -> DiffusersEngine:
    engine = DiffusersEngine(ModelConfig(str(source), device="cpu", **config))
    engine.load()
    return engine


def ignore(step: Step) -> None:
    pass


def make(engine: DiffusersEngine, request: VideoRequest = REQUEST, **changes: Any) -> VideoResult:
    return engine.generate(dataclasses.replace(request, **changes), ignore)


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A video file as ffmpeg itself sees it."""

    size: tuple[int, int]
    frames: list[bytes]
    seconds_between_frames: set[float]
    codec: str


def decoded(film: VideoResult, folder: Path) -> Decoded:
    path = folder / "decoded.mp4"
    path.write_bytes(film.content)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-vf", "showinfo", "-fps_mode", "passthrough"]
    ran = subprocess.run([*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"], capture_output=True, check=True)
    shown = ran.stderr.decode()
    sizes = {(int(width), int(height)) for width, height in re.findall(r"pts_time:.* s:(\d+)x(\d+)", shown)}
    times = [float(time) for time in re.findall(r"pts_time:([\d.]+)", shown)]
    ((width, height),) = sizes
    length = width * height * 3
    frames = [ran.stdout[start : start + length] for start in range(0, len(ran.stdout), length)]
    gaps = {round(after - before, 3) for before, after in pairwise(times)}
    codec = re.search(r"^ *Stream #0:0.* Video: (\w+).*?(yuv\w+)", shown, re.M)
    assert codec
    return Decoded((width, height), frames, gaps, f"{codec[1]} {codec[2]}")


def pixels(still: VideoResult) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(still.content))).astype(np.int16)


def test_every_field_has_a_change_to_be_tested() -> None:
    assert {*CHANGES, "still"} == {field.name for field in dataclasses.fields(VideoRequest)}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in CHANGES.items() for value in values])
def test_every_field_changes_the_video(
    engine: DiffusersEngine, baseline: VideoResult, tmp_path: Path, field: str, value: Any
) -> None:
    before, after = decoded(baseline, tmp_path), decoded(make(engine, **{field: value}), tmp_path)
    if field == "fps":
        assert before.seconds_between_frames != after.seconds_between_frames
    else:
        assert before.frames != after.frames


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "steps", "guidance_scale", "flow_shift", "seed"])
def test_every_field_changes_the_still(engine: DiffusersEngine, field: str) -> None:
    changed = make(engine, STILL, **{field: CHANGES[field][-1]})
    assert not np.array_equal(pixels(make(engine, STILL)), pixels(changed))


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 7, 13])
@pytest.mark.parametrize("fps", [8, 15, 24])
def test_a_video_has_exactly_the_frames_and_the_speed_asked_for(
    engine: DiffusersEngine, tmp_path: Path, frames: int, fps: int
) -> None:
    film = make(engine, frames=frames, fps=fps, steps=1)
    found = decoded(film, tmp_path)
    assert len(found.frames) == film.frames == frames
    assert all(gap == pytest.approx(1 / fps, abs=0.001) for gap in found.seconds_between_frames)
    assert film.fps == fps
    assert film.duration == frames / fps
    assert found.size == (film.width, film.height) == (64, 96)


def test_a_shorter_video_is_the_beginning_of_what_is_made(engine: DiffusersEngine, tmp_path: Path) -> None:
    four, five = (decoded(make(engine, frames=frames), tmp_path) for frames in (4, 5))
    differences = [
        np.abs(np.frombuffer(a, np.uint8).astype(int) - np.frombuffer(b, np.uint8)).mean()
        for a, b in zip(four.frames, five.frames, strict=False)
    ]
    assert max(differences) < 6  # the encoder spends its bits differently


def test_a_video_plays_in_a_browser_before_it_has_arrived(baseline: VideoResult, tmp_path: Path) -> None:
    assert decoded(baseline, tmp_path).codec == "h264 yuv420p"
    assert baseline.content[4:8] == b"ftyp"
    assert baseline.content.index(b"moov") < baseline.content.index(b"mdat")


def test_a_still_is_a_png_and_has_no_speed(engine: DiffusersEngine) -> None:
    still = make(engine, STILL)
    image = Image.open(io.BytesIO(still.content))
    assert image.format == "PNG"
    assert image.size == (still.width, still.height) == (64, 96)
    assert (still.frames, still.fps, still.duration) == (1, None, None)


def test_a_still_is_the_first_frame_of_a_video_of_one(engine: DiffusersEngine, tmp_path: Path) -> None:
    (frame,) = decoded(make(engine, frames=1), tmp_path).frames
    video = np.frombuffer(frame, np.uint8).reshape(96, 64, 3).astype(np.int16)
    assert np.abs(video.mean(2) - pixels(make(engine, STILL)).mean(2)).mean() < 12  # yuv420p halves the colours


def test_the_same_request_makes_the_same_file(engine: DiffusersEngine, baseline: VideoResult) -> None:
    assert make(engine) == baseline
    assert make(engine, STILL) == make(engine, STILL)


def test_a_picture_is_not_of_one_colour(engine: DiffusersEngine) -> None:
    assert pixels(make(engine, STILL)).std() > 20


def test_a_job_leaves_nothing_behind_for_the_next(engine: DiffusersEngine, baseline: VideoResult) -> None:
    make(engine, flow_shift=1.0, steps=2, guidance_scale=1.0)
    assert make(engine) == baseline


def test_progress_goes_through_the_phases_in_order(engine: DiffusersEngine) -> None:
    steps: list[Step] = []
    film = engine.generate(dataclasses.replace(REQUEST, frames=6), steps.append)
    assert steps == [
        Step(Phase.ENCODING),
        *(Step(Phase.DENOISING, step, 3) for step in (1, 2, 3)),
        *(Step(Phase.DECODING, piece, 3) for piece in (0, 1, 2)),  # 9 frames are made: 1 + 4 + 4
    ]
    assert (film.steps, film.guidance_scale, film.seed) == (3, 6.5, 5)


def test_files_carry_their_parameters(engine: DiffusersEngine, baseline: VideoResult, tmp_path: Path) -> None:
    numbers = {"steps": 3, "guidance_scale": 6.5, "flow_shift": 5.0, "seed": 5, "model": "atelier-small-wan"}
    path = tmp_path / "film.mp4"
    path.write_bytes(baseline.content)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"comment={json.dumps(numbers)}" in shown.splitlines()
    prompts = {"prompt": "ein rotes Boot \0 – 赤い舟", "negative_prompt": "blurry"}
    still = Image.open(io.BytesIO(make(engine, STILL, prompt=prompts["prompt"]).content))
    assert json.loads(still.info["parameters"]) == prompts | numbers


def test_no_prompt_is_seen_on_a_command_line(engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []
    start = subprocess.Popen.__init__

    def watch(process: Any, command: list[str], **options: Any) -> None:
        commands.append(" ".join(command))
        start(process, command, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", watch)
    make(engine, prompt="my secret", negative_prompt="my fear")
    assert len(commands) == 2
    assert "my secret" not in "".join(commands)
    assert "my fear" not in "".join(commands)


class Gone(Exception):
    """What a servicer raises when nobody waits any more."""


@pytest.mark.parametrize(
    "last", [Step(Phase.ENCODING), Step(Phase.DENOISING, 1, 3), Step(Phase.DENOISING, 3, 3), Step(Phase.DECODING, 1, 2)]
)
def test_a_job_can_be_ended_at_every_step(engine: DiffusersEngine, baseline: VideoResult, last: Step) -> None:
    seen: list[Step] = []

    def report(step: Step) -> None:
        seen.append(step)
        if step == last:
            raise Gone

    with pytest.raises(Gone):
        engine.generate(REQUEST, report)
    assert seen[-1] == last
    assert make(engine) == baseline


def test_decoding_keeps_no_more_than_one_piece(engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    vae, kept = engine._pipeline.vae, []
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda latents: kept.append(decode(latents).sample))
    make(engine, frames=13)
    assert kept[0].numel() == 0
    assert vae._feat_map == [None] * len(vae._feat_map)


def failing_once(engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], None]) -> None:
    """Have the transformer meet `failure` the first time it is called."""
    transformer, failures = engine._pipeline.transformer, [failure]
    forward = transformer.forward

    def fail_first(*args: Any, **options: Any) -> Any:
        if failures:
            failures.pop()()
        return forward(*args, **options)

    monkeypatch.setattr(transformer, "forward", fail_first)


def test_running_out_of_memory_is_told_apart_and_survived(
    engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    failing_once(engine, monkeypatch, fill_memory)
    with pytest.raises(OutOfMemory, match="5 frames of 64x96") as caught:
        make(engine)
    assert caught.value.__context__ is None
    assert make(engine).frames == 5


def test_not_a_number_is_a_failure_and_no_black_video(engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.full((1, 48, 2, 6, 4), float("nan"))
    monkeypatch.setattr(engine._pipeline.transformer, "forward", lambda *args, **options: (nothing,))
    with pytest.raises(EngineFailed, match="not-a-numbers"):
        make(engine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 80}, "width: must be a multiple of 32 for this model, got 80"),
        ({"height": 100}, "height: must be a multiple of 32 for this model, got 100"),
        ({"still": True}, "frames: a still has exactly 1, got 5"),
    ],
)
def test_what_the_model_cannot_do_is_refused(engine: DiffusersEngine, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(engine, **change)
    assert str(caught.value) == message


def test_the_model_says_what_it_is(engine: DiffusersEngine) -> None:
    model = engine.model
    assert (model.real_name, model.device, model.dtype) == ("atelier-small-wan", "cpu", "float32")
    assert (model.size_multiple, model.min_side, model.max_pixels) == (32, 64, 1280 * 720)
    assert model.capabilities == ()  # text to video only: no reference picture
    assert engine.device_memory_mb() == (0, 0)


def test_the_small_model_compresses_as_wan_does(engine: DiffusersEngine) -> None:
    vae = engine._pipeline.vae
    assert (vae.config.scale_factor_spatial, vae.config.scale_factor_temporal) == (16, 4)


def test_a_flow_matching_euler_scheduler_takes_the_shift_too(copied: Path) -> None:
    settings = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (copied / "scheduler/scheduler_config.json").write_text(json.dumps(settings))
    index = (copied / "model_index.json").read_text()
    (copied / "model_index.json").write_text(
        index.replace("UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler")
    )
    euler = loaded(copied)
    stills = {hashlib.sha256(make(euler, STILL, flow_shift=shift).content).hexdigest() for shift in (1.0, 3.0, 5.0)}
    assert len(stills) == 3


def test_half_precision_keeps_the_decoder_in_float32(model: Path) -> None:
    half = loaded(model, dtype="bfloat16")
    assert half.model.dtype == "bfloat16"
    assert half._pipeline.vae.dtype == torch.float32
    assert pixels(make(half, STILL)).std() > 20


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "no model: set ATELIER_MODEL"),
        ("/no/such/folder", "/no/such/folder: no such folder or file; set ATELIER_MODEL"),
        ("wan.ckpt", "wan.ckpt: pickle files can run code, so they are never loaded; convert it to safetensors"),
    ],
)
def test_a_source_that_is_no_model_is_one_clear_line(source: str, reason: str) -> None:
    with pytest.raises(ModelUnusable) as caught:
        DiffusersEngine(ModelConfig(source)).load()
    assert str(caught.value) == reason


def test_a_single_file_is_refused(model: Path) -> None:
    with pytest.raises(ModelUnusable, match="a Wan model is a folder or a hub id, not a single file"):
        loaded(model / TRANSFORMER)


def rewrite(change: Callable[[dict[str, torch.Tensor]], object], part: str = TRANSFORMER) -> Callable[[Path], None]:
    """A way to break a model: change the weights of one part."""

    def apply(folder: Path) -> None:
        weights = load_file(folder / part)
        change(weights)
        save_file(weights, folder / part, metadata={"format": "pt"})

    return apply


def pickle_everything(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "no model_index.json, so this is no model folder"),
    "another model": (
        lambda f: (f / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}'),
        "holds a StableDiffusionXLPipeline, not a WanPipeline",
    ),
    "no vae": (lambda f: shutil.rmtree(f / "vae"), "parts of the model are missing: vae"),
    "no weights": (lambda f: (f / TRANSFORMER).unlink(), "no file named diffusion_pytorch_model.safetensors"),
    "all pickled": (pickle_everything, "no safetensors weights, only pickled ones"),
    "cut off": (lambda f: (f / TRANSFORMER).write_bytes((f / TRANSFORMER).read_bytes()[:999]), "Unable to load"),
    "a weight less": (rewrite(lambda w: w.pop("proj_out.weight")), "weights are missing, such as proj_out.weight"),
    "a text weight less": (
        rewrite(lambda w: w.pop("encoder.final_layer_norm.weight"), "text_encoder/model.safetensors"),
        "weights are missing, such as encoder.final_layer_norm.weight of the text_encoder",
    ),
    "not a number": (rewrite(lambda w: w["proj_out.bias"].fill_(float("nan"))), "makes no video: the model computed"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_folder_is_one_clear_line(copied: Path, how: str) -> None:
    breaking, reason = BREAKS[how]
    breaking(copied)
    with pytest.raises(ModelUnusable) as caught:
        loaded(copied)
    line = str(caught.value)
    assert line.startswith(str(copied))
    assert reason in line
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # compiling meets much that is about to change in torch itself
def test_a_compiled_model_makes_the_same(engine: DiffusersEngine, model: Path) -> None:
    compiled = loaded(model, compile=True)
    assert np.abs(pixels(make(compiled, STILL)) - pixels(make(engine, STILL))).max() <= 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused(model: Path) -> None:
    with pytest.raises(ModelUnusable, match="ATELIER_DEVICE is cuda, but torch sees no CUDA device"):
        DiffusersEngine(ModelConfig(str(model), device="cuda")).load()


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("cpu_offload", "ATELIER_CPU_OFFLOAD: there is nothing to offload from"),
        ("attention_slicing", "ATELIER_ATTENTION_SLICING: this model has no attention that can be sliced"),
    ],
)
def test_an_option_without_effect_is_refused(model: Path, option: str, reason: str) -> None:
    with pytest.raises(ModelUnusable, match=reason):
        loaded(model, **{option: True})


LONG = "a red boat on the sea, " * 120


def test_tokens_are_those_of_the_text_as_the_pipeline_cleans_it(engine: DiffusersEngine, model: Path) -> None:
    texts = ["", "a red boat", LONG, "a  red \n boat &amp; more ", "狐狸"]
    (count,) = engine.count_tokens(texts)
    theirs = AutoTokenizer.from_pretrained(model / "tokenizer")
    cleaned = ["", "a red boat", LONG.strip(), "a red boat & more", "狐狸"]
    assert count.tokens == tuple(len(theirs(text, verbose=False).input_ids) for text in cleaned)
    assert (count.tokenizer, count.limit) == ("umt5", 512)


@pytest.mark.parametrize("space", [" ", "  \n "])
def test_reading_ends_where_the_library_cuts(engine: DiffusersEngine, model: Path, space: str) -> None:
    theirs = AutoTokenizer.from_pretrained(model / "tokenizer")
    cut = theirs(LONG, truncation=True, max_length=512, return_offsets_mapping=True)["offset_mapping"]
    read = LONG[: max(end for _, end in cut)]
    text = LONG.replace(" ", space)
    ((place,),) = (count.read_characters for count in engine.count_tokens([text]))
    assert text[:place].split() == read.split()
    assert place < len(text)
