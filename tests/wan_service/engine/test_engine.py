"""The video engine, on the small model: a real pipeline of the real classes, and real files."""

import dataclasses
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from atelier.contracts.errors import EngineFailed, InvalidRequest, OutOfMemory
from shared.worker.engine import Phase, Step
from tests.kit.filming import REQUEST, STILL, decoded, generate, make, pipeline, pixels
from wan_service.engine.engine import WanEngine
from wan_service.engine.interface import VideoRequest, VideoResult

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

# Another value for every field but `still`, `model`, and what takes two experts; each must lead to another file.
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


def test_every_field_has_a_change_to_be_tested() -> None:
    assert {*CHANGES, "still", "model", "guidance_scale_2"} == {
        field.name for field in dataclasses.fields(VideoRequest)
    }


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in CHANGES.items() for value in values])
def test_every_field_changes_the_video(
    engine: WanEngine, baseline: VideoResult, tmp_path: Path, field: str, value: Any
) -> None:
    before, after = decoded(baseline, tmp_path), decoded(make(engine, **{field: value}), tmp_path)
    if field == "fps":
        assert before.seconds_between_frames != after.seconds_between_frames
    else:
        assert before.frames != after.frames


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "steps", "guidance_scale", "flow_shift", "seed"])
def test_every_field_changes_the_still(engine: WanEngine, field: str) -> None:
    changed = make(engine, STILL, **{field: CHANGES[field][-1]})
    assert not np.array_equal(pixels(make(engine, STILL)), pixels(changed))


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 7, 13])
@pytest.mark.parametrize("fps", [8, 15, 24])
def test_a_video_has_exactly_the_frames_and_the_speed_asked_for(
    engine: WanEngine, tmp_path: Path, frames: int, fps: int
) -> None:
    film = make(engine, frames=frames, fps=fps, steps=1)
    found = decoded(film, tmp_path)
    assert len(found.frames) == film.frames == frames
    assert all(gap == pytest.approx(1 / fps, abs=0.001) for gap in found.seconds_between_frames)
    assert film.fps == fps
    assert film.duration == frames / fps
    assert found.size == (film.width, film.height) == (64, 96)


def test_a_shorter_video_is_the_beginning_of_what_is_made(engine: WanEngine, tmp_path: Path) -> None:
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


def test_a_still_is_a_png_and_has_no_speed(engine: WanEngine) -> None:
    still = make(engine, STILL)
    image = Image.open(io.BytesIO(still.content))
    assert image.format == "PNG"
    assert image.size == (still.width, still.height) == (64, 96)
    assert (still.frames, still.fps, still.duration) == (1, None, None)


def test_a_still_is_the_first_frame_of_a_video_of_one(engine: WanEngine, tmp_path: Path) -> None:
    (frame,) = decoded(make(engine, frames=1), tmp_path).frames
    video = np.frombuffer(frame, np.uint8).reshape(96, 64, 3).astype(np.int16)
    assert np.abs(video.mean(2) - pixels(make(engine, STILL)).mean(2)).mean() < 12  # yuv420p halves the colours


def test_the_same_request_makes_the_same_file(engine: WanEngine, baseline: VideoResult) -> None:
    assert make(engine) == baseline
    assert make(engine, STILL) == make(engine, STILL)


def test_a_picture_is_not_of_one_colour(engine: WanEngine) -> None:
    assert pixels(make(engine, STILL)).std() > 20


def test_a_job_leaves_nothing_behind_for_the_next(engine: WanEngine, baseline: VideoResult) -> None:
    make(engine, flow_shift=1.0, steps=2, guidance_scale=1.0)
    assert make(engine) == baseline


def test_progress_goes_through_the_phases_in_order(engine: WanEngine) -> None:
    steps: list[Step] = []
    film = generate(engine, dataclasses.replace(REQUEST, frames=6), steps.append)
    assert steps == [
        Step(Phase.ENCODING),
        *(Step(Phase.DENOISING, step, 3) for step in (1, 2, 3)),
        *(Step(Phase.DECODING, piece, 3) for piece in (0, 1, 2)),  # 9 frames are made: 1 + 4 + 4
    ]
    assert (film.steps, film.guidance_scale, film.seed) == (3, 6.5, 5)


def test_files_carry_their_parameters(engine: WanEngine, baseline: VideoResult, tmp_path: Path) -> None:
    numbers = {"steps": 3, "guidance_scale": 6.5, "flow_shift": 5.0, "seed": 5, "model": "atelier-small-wan"}
    path = tmp_path / "film.mp4"
    path.write_bytes(baseline.content)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"comment={json.dumps(numbers)}" in shown.splitlines()
    prompts = {"prompt": "ein rotes Boot \0 – 赤い舟", "negative_prompt": "blurry"}
    still = Image.open(io.BytesIO(make(engine, STILL, prompt=prompts["prompt"]).content))
    assert json.loads(still.info["parameters"]) == prompts | numbers


def test_no_prompt_is_seen_on_a_command_line(engine: WanEngine, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """What a servicer raises when no caller waits any more."""


@pytest.mark.parametrize(
    "last", [Step(Phase.ENCODING), Step(Phase.DENOISING, 1, 3), Step(Phase.DENOISING, 3, 3), Step(Phase.DECODING, 1, 2)]
)
def test_a_job_can_be_ended_at_every_step(engine: WanEngine, baseline: VideoResult, last: Step) -> None:
    seen: list[Step] = []

    def report(step: Step) -> None:
        seen.append(step)
        if step == last:
            raise Gone

    with pytest.raises(Gone):
        generate(engine, REQUEST, report)
    assert seen[-1] == last
    assert make(engine) == baseline


def test_decoding_keeps_no_more_than_one_piece(engine: WanEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    vae, kept = pipeline(engine).vae, []
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda latents: kept.append(decode(latents).sample))
    make(engine, frames=13)
    assert kept[0].numel() == 0
    assert vae._feat_map == [None] * len(vae._feat_map)


def failing_once(engine: WanEngine, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], None]) -> None:
    """Have the transformer meet `failure` the first time it is called."""
    transformer, failures = pipeline(engine).transformer, [failure]
    forward = transformer.forward

    def fail_first(*args: Any, **options: Any) -> Any:
        if failures:
            failures.pop()()
        return forward(*args, **options)

    monkeypatch.setattr(transformer, "forward", fail_first)


def test_running_out_of_memory_is_told_apart_and_survived(engine: WanEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    failing_once(engine, monkeypatch, fill_memory)
    with pytest.raises(OutOfMemory, match="5 frames of 64x96") as caught:
        make(engine)
    assert caught.value.__context__ is None
    assert make(engine).frames == 5


def test_not_a_number_is_a_failure_and_no_black_video(engine: WanEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.full((1, 48, 2, 6, 4), float("nan"))
    monkeypatch.setattr(pipeline(engine).transformer, "forward", lambda *args, **options: (nothing,))
    with pytest.raises(EngineFailed, match="not-a-numbers"):
        make(engine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 80}, "width: must be a multiple of 32 for this model, got 80"),
        ({"height": 100}, "height: must be a multiple of 32 for this model, got 100"),
        ({"still": True}, "frames: a still has exactly 1, got 5"),
        (
            {"guidance_scale_2": 3.0},
            "guidance_scale_2: has no effect on this model, which has one expert",
        ),
    ],
)
def test_what_the_model_cannot_do_is_refused(engine: WanEngine, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(engine, **change)
    assert str(caught.value) == message


def test_the_model_says_what_it_is(engine: WanEngine) -> None:
    (model,) = engine.models
    assert (model.name, model.real_name) == ("wan", "atelier-small-wan")
    assert (engine.device, engine.dtype, engine.memory()) == ("cpu", "float32", (0, 0))
    assert (model.size_multiple, model.min_side, model.max_pixels) == (32, 64, 1280 * 720)
    assert model.capabilities == ()  # text to video only: no reference picture


def test_the_small_model_compresses_as_wan_does(engine: WanEngine) -> None:
    vae = pipeline(engine).vae
    assert (vae.config.scale_factor_spatial, vae.config.scale_factor_temporal) == (16, 4)
