"""The image engine, on the small model: a real pipeline of the real classes."""

import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from atelier.small_models import ensure
from sdxl_service.engine import DiffusersEngine
from sdxl_service.seam import SCHEDULERS, ImageRequest, Phase, Picture, Step
from shared.errors import EngineFailed, InvalidRequest, ModelUnusable, OutOfMemory
from shared.worker_configs import ModelConfig
from tests.sdxl_service.original_layout import save_single_file

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

REQUEST = ImageRequest("a red boat", "blurry", 72, 64, steps=3, guidance_scale=7.5, seeds=(5,))
# Another value for every field; each must lead to another picture.
CHANGES: dict[str, list[Any]] = {
    "prompt": ["a castle"],
    "negative_prompt": ["", "night"],
    "width": [96],
    "height": [128],
    "steps": [4],
    "guidance_scale": [1.0, 3.0],
    "seeds": [(0,), (6,)],
    "scheduler": [word for word in SCHEDULERS if word != REQUEST.scheduler],
    "clip_skip": [1, 4],
}
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are slower on many threads, above all while others want the same cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Path:
    return ensure(["sdxl"])["sdxl"]


@pytest.fixture(scope="module")
def engine(model: Path) -> DiffusersEngine:
    return loaded(model)


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


def draw(engine: DiffusersEngine, **changes: Any) -> tuple[Picture, ...]:
    return engine.generate(dataclasses.replace(REQUEST, **changes), ignore).pictures


def pixels(picture: Picture) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(picture.png))).astype(np.int16)


def test_every_field_has_a_change_to_be_tested() -> None:
    assert set(CHANGES) == {field.name for field in dataclasses.fields(ImageRequest)}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in CHANGES.items() for value in values])
def test_every_field_changes_the_picture(engine: DiffusersEngine, field: str, value: Any) -> None:
    (before,), (after,) = draw(engine), draw(engine, **{field: value})
    assert pixels(before).shape != pixels(after).shape or not np.array_equal(pixels(before), pixels(after))


def test_the_same_request_draws_the_same_picture(engine: DiffusersEngine) -> None:
    assert draw(engine) == draw(engine)


def test_a_picture_is_not_of_one_colour(engine: DiffusersEngine) -> None:
    assert pixels(draw(engine)[0]).std() > 20


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("seeds", [(7, 8, 9), (4, 5, 6, 7, 8, 9)])
def test_an_image_does_not_depend_on_its_neighbours(
    engine: DiffusersEngine, scheduler: str, seeds: tuple[int, ...]
) -> None:
    batch = draw(engine, seeds=seeds, scheduler=scheduler)
    (alone,) = draw(engine, seeds=(8,), scheduler=scheduler)
    assert [picture.seed for picture in batch] == list(seeds)
    assert np.abs(pixels(batch[seeds.index(8)]) - pixels(alone)).max() <= 2
    assert not np.array_equal(pixels(batch[0]), pixels(batch[1]))


def test_a_job_leaves_nothing_behind_for_the_next(engine: DiffusersEngine) -> None:
    before = draw(engine)
    draw(engine, scheduler="ddim", steps=2, guidance_scale=2.0, clip_skip=2)
    assert draw(engine) == before


def test_what_is_reported_is_what_ran(engine: DiffusersEngine) -> None:
    steps: list[Step] = []
    (picture,) = engine.generate(REQUEST, steps.append).pictures
    assert (picture.width, picture.height) == Image.open(io.BytesIO(picture.png)).size == (72, 64)
    assert picture.steps == sum(step.phase is Phase.DENOISING for step in steps) == 3
    assert (picture.guidance_scale, picture.seed) == (7.5, 5)


def test_progress_goes_through_the_phases_in_order(engine: DiffusersEngine) -> None:
    steps: list[Step] = []
    engine.generate(dataclasses.replace(REQUEST, seeds=(1, 2, 3)), steps.append)
    assert steps == [
        Step(Phase.ENCODING),
        *(Step(Phase.DENOISING, step, 3) for step in (1, 2, 3)),
        *(Step(Phase.DECODING, image, 3) for image in (0, 1, 2)),
    ]


def test_the_picture_carries_its_parameters(engine: DiffusersEngine) -> None:
    image = Image.open(io.BytesIO(draw(engine, prompt="ein rotes Boot – 赤い舟")[0].png))
    assert json.loads(image.info["parameters"]) == {
        "prompt": "ein rotes Boot – 赤い舟",
        "negative_prompt": "blurry",
        "steps": 3,
        "guidance_scale": 7.5,
        "seed": 5,
        "scheduler": "euler",
        "clip_skip": 0,
        "model": "atelier-small-sdxl",
    }


class Gone(Exception):
    """What a servicer raises when nobody waits any more."""


@pytest.mark.parametrize(
    "last", [Step(Phase.ENCODING), Step(Phase.DENOISING, 1, 3), Step(Phase.DENOISING, 3, 3), Step(Phase.DECODING, 1, 3)]
)
def test_a_job_can_be_ended_at_every_step(engine: DiffusersEngine, last: Step) -> None:
    before, seen = draw(engine), list[Step]()

    def report(step: Step) -> None:
        seen.append(step)
        if step == last:
            raise Gone

    with pytest.raises(Gone):
        engine.generate(dataclasses.replace(REQUEST, seeds=(1, 2, 3)), report)
    assert seen[-1] == last
    assert draw(engine) == before


def failing_once(engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], None]) -> None:
    """Have the unet meet `failure` the first time it is called."""
    unet, failures = engine._pipeline.unet, [failure]
    forward = unet.forward

    def fail_first(*args: Any, **options: Any) -> Any:
        if failures:
            failures.pop()()
        return forward(*args, **options)

    monkeypatch.setattr(unet, "forward", fail_first)


def test_running_out_of_memory_is_told_apart_and_survived(
    engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    failing_once(engine, monkeypatch, fill_memory)
    with pytest.raises(OutOfMemory, match="1 images of 72x64") as caught:
        draw(engine)
    assert caught.value.__context__ is None
    assert draw(engine)


def test_not_a_number_is_a_failure_and_no_black_picture(
    engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = torch.full((2, 4, 8, 9), float("nan"))
    monkeypatch.setattr(engine._pipeline.unet, "forward", lambda *args, **options: (nothing,))
    with pytest.raises(EngineFailed, match="not-a-numbers"):
        draw(engine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 70}, "resolution: both sides must be multiples of 8, got 70x64"),
        ({"height": 60}, "resolution: both sides must be multiples of 8, got 72x60"),
        ({"scheduler": "heun"}, "scheduler: must be one of euler, euler_ancestral, ddim, dpmpp_2m, unipc"),
        ({"clip_skip": 6}, "clip_skip: must be under 6, the layers of this model, got 6"),
    ],
)
def test_what_the_model_cannot_do_is_refused(engine: DiffusersEngine, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        draw(engine, **change)
    assert str(caught.value) == message


def test_no_clip_skip_and_zero_are_the_same(engine: DiffusersEngine) -> None:
    assert draw(engine, clip_skip=0) == draw(engine, clip_skip=None)


def test_the_model_says_what_it_is(engine: DiffusersEngine) -> None:
    model = engine.model
    assert (model.real_name, model.device, model.dtype) == ("atelier-small-sdxl", "cpu", "float32")
    assert (model.size_multiple, model.min_side, model.max_pixels) == (8, 64, 2048 * 2048)
    assert engine.device_memory_mb() == (0, 0)


def test_a_single_file_draws_what_its_folder_draws(engine: DiffusersEngine, copied: Path) -> None:
    file = copied.parent / "harbour.safetensors"
    save_single_file(copied, file)
    for weights in copied.rglob("*.safetensors"):
        weights.unlink()
    copied.rename(copied.parent / "harbour")
    single = loaded(file)
    assert single.model.real_name == "harbour"
    assert np.array_equal(pixels(draw(single)[0]), pixels(draw(engine)[0]))


def test_bfloat16_draws_nearly_the_same(engine: DiffusersEngine, model: Path) -> None:
    half = loaded(model, dtype="bfloat16")
    assert half.model.dtype == "bfloat16"
    assert pixels(draw(half)[0]).std() > 20


def test_float16_decodes_in_float32(model: Path) -> None:
    half = loaded(model, dtype="float16")
    assert half._pipeline.vae.dtype == torch.float32
    assert pixels(draw(half)[0]).std() > 20


def test_attention_slicing_saves_memory_and_draws_the_same(engine: DiffusersEngine, model: Path) -> None:
    sliced = loaded(model, attention_slicing=True)
    assert "Sliced" in type(next(iter(sliced._pipeline.unet.attn_processors.values()))).__name__
    assert np.abs(pixels(draw(sliced)[0]) - pixels(draw(engine)[0])).max() <= 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "no model: set ATELIER_MODEL"),
        ("/no/such/folder", "/no/such/folder: no such folder or file; set ATELIER_MODEL"),
        ("model.ckpt", "model.ckpt: pickle files can run code, so they are never loaded; convert it to safetensors"),
        ("model.pt", "model.pt: pickle files can run code, so they are never loaded; convert it to safetensors"),
        ("owner/model.bin", "owner/model.bin: pickle files can run code"),
        ("owner/gone.safetensors", "owner/gone.safetensors: no such folder or file"),
        (__file__, f"{__file__}: a model file must be .safetensors"),
    ],
)
def test_a_source_that_is_no_model_is_one_clear_line(source: str, reason: str) -> None:
    with pytest.raises(ModelUnusable) as caught:
        DiffusersEngine(ModelConfig(source)).load()
    assert str(caught.value).startswith(reason)


def rewrite(change: Callable[[dict[str, torch.Tensor]], object], part: str = UNET) -> Callable[[Path], None]:
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


def pickle_the_unet(folder: Path) -> None:
    torch.save(load_file(folder / UNET), (folder / UNET).with_suffix(".bin"))
    (folder / UNET).unlink()


def name_foreign_code(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["evil", "Unet"]}))
    (folder / "unet/evil.py").write_text("raise SystemExit('ran')")


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "no model_index.json, so this is no model folder"),
    "half an index": (lambda f: (f / "model_index.json").write_text('{"unet":'), "model_index.json cannot be read"),
    "another model": (
        lambda f: (f / "model_index.json").write_text('{"_class_name": "WanPipeline"}'),
        "holds a WanPipeline, not a StableDiffusionXLPipeline",
    ),
    "foreign code": (name_foreign_code, "unet/evil.py"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "parts of the model are missing: tokenizer"),
    "no weights": (lambda f: (f / UNET).unlink(), "no file named diffusion_pytorch_model.safetensors"),
    "pickled unet": (pickle_the_unet, "no file named diffusion_pytorch_model.safetensors"),
    "all pickled": (pickle_everything, "no safetensors weights, only pickled ones"),
    "cut off": (lambda f: (f / UNET).write_bytes((f / UNET).read_bytes()[:9999]), "Unable to load weights"),
    "a weight less": (rewrite(lambda w: w.pop("conv_out.weight")), "weights are missing, such as conv_out.weight"),
    "a text weight less": (
        rewrite(lambda w: w.pop("final_layer_norm.weight"), "text_encoder/model.safetensors"),
        "weights are missing, such as final_layer_norm.weight of the text_encoder",
    ),
    "a wrong shape": (rewrite(lambda w: w.update({"conv_out.bias": torch.zeros(3)})), "conv_out.bias"),
    "not a number": (rewrite(lambda w: w["conv_out.bias"].fill_(float("nan"))), "draws nothing: the model computed"),
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


def test_a_broken_single_file_is_one_clear_line(copied: Path) -> None:
    file = copied.with_suffix(".safetensors")
    file.write_bytes(b"\0" * 100)
    with pytest.raises(ModelUnusable, match=r"model\.safetensors: ") as caught:
        loaded(file)
    assert "\n" not in str(caught.value)


def test_a_single_file_without_configuration_says_where_it_may_lie(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    save_single_file(copied, copied.parent / "harbour.safetensors")
    with pytest.raises(ModelUnusable, match=f"its configuration may lie in {copied.parent}/harbour$"):
        loaded(copied.parent / "harbour.safetensors")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # compiling meets much that is about to change in torch itself
def test_a_compiled_model_draws_the_same(engine: DiffusersEngine, model: Path) -> None:
    compiled = loaded(model, compile=True)
    assert np.abs(pixels(draw(compiled)[0]) - pixels(draw(engine)[0])).max() <= 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused(model: Path) -> None:
    with pytest.raises(ModelUnusable, match="ATELIER_DEVICE is cuda, but torch sees no CUDA device"):
        DiffusersEngine(ModelConfig(str(model), device="cuda")).load()


def test_offloading_without_a_device_is_refused(model: Path) -> None:
    with pytest.raises(ModelUnusable, match="ATELIER_CPU_OFFLOAD: there is nothing to offload from"):
        loaded(model, cpu_offload=True)


LONG = ", ".join(f"{word} lighthouse" for word in ("red", "tall", "old", "white", "burning") * 10)


def test_both_tokenizers_count_what_they_give_the_model(engine: DiffusersEngine, model: Path) -> None:
    texts = ["", "a red boat", "a red boat, 8k", LONG, "狐狸 <|endoftext|> İ", "  two  spaces\n"]
    for count, folder in zip(engine.count_tokens(texts), ("tokenizer", "tokenizer_2"), strict=True):
        theirs = CLIPTokenizer.from_pretrained(model / folder)
        assert (count.limit, count.tokens) == (77, tuple(len(theirs(text, verbose=False).input_ids) for text in texts))
    assert [count.tokenizer for count in engine.count_tokens([""])] == ["clip_l", "clip_g"]


def test_what_is_said_not_to_be_read_changes_nothing_and_what_is_read_does(engine: DiffusersEngine) -> None:
    (read, _), _ = (count.read_characters for count in engine.count_tokens([LONG, "x"]))
    assert 0 < read < len(LONG)
    (as_sent,) = draw(engine, prompt=LONG)
    assert pixels(draw(engine, prompt=LONG[:read] + " castle, night")[0]).tolist() == pixels(as_sent).tolist()
    words = LONG[:read].split()
    assert pixels(draw(engine, prompt=" ".join([*words[:-1], "castle"]))[0]).tolist() != pixels(as_sent).tolist()


def test_tokens_are_counted_while_a_picture_is_drawn(engine: DiffusersEngine) -> None:
    alone = engine.count_tokens([LONG])
    with ThreadPoolExecutor(1) as other:
        found: list[Any] = []

        def report(step: Step) -> None:
            found.append(other.submit(engine.count_tokens, [LONG]).result(10))

        engine.generate(dataclasses.replace(REQUEST, prompt=LONG), report)
    assert len(found) > 3
    assert all(count == alone for count in found)
