"""Loading the image model: the ways it can be stored, the ways it can be run, and what is wrong with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from atelier.contracts.errors import ModelUnusable
from sdxl_service.engine.engine import SdxlEngine
from tests.kit.drawing import draw, loaded, pipeline, pixels
from tests.kit.original_layout import save_single_file

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_single_file_draws_what_its_folder_draws(engine: SdxlEngine, copied: Path) -> None:
    file = copied.parent / "harbour.safetensors"
    save_single_file(copied, file)
    for weights in copied.rglob("*.safetensors"):
        weights.unlink()
    copied.rename(copied.parent / "harbour")
    single = loaded(file)
    assert single.models[0].real_name == "harbour"
    assert np.array_equal(pixels(draw(single)[0]), pixels(draw(engine)[0]))


def test_bfloat16_draws_nearly_the_same(engine: SdxlEngine, model: Path) -> None:
    half = loaded(model, dtype="bfloat16")
    assert half.dtype == "bfloat16"
    assert pixels(draw(half)[0]).std() > 20


def test_float16_decodes_in_float32(model: Path) -> None:
    half = loaded(model, dtype="float16")
    assert pipeline(half).vae.dtype == torch.float32
    assert pixels(draw(half)[0]).std() > 20


def test_attention_slicing_saves_memory_and_draws_the_same(engine: SdxlEngine, model: Path) -> None:
    sliced = loaded(model, attention_slicing=True)
    assert "Sliced" in type(next(iter(pipeline(sliced).unet.attn_processors.values()))).__name__
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
        loaded(source)
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
def test_a_compiled_model_draws_the_same(engine: SdxlEngine, model: Path) -> None:
    compiled = loaded(model, compile=True)
    assert np.abs(pixels(draw(compiled)[0]) - pixels(draw(engine)[0])).max() <= 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused(model: Path) -> None:
    with pytest.raises(ModelUnusable, match="ATELIER_DEVICE is cuda, but torch sees no CUDA device"):
        loaded(model, device="cuda")


def test_offloading_without_a_device_is_refused(model: Path) -> None:
    with pytest.raises(ModelUnusable, match="ATELIER_CPU_OFFLOAD: there is nothing to offload from"):
        loaded(model, cpu_offload=True)
