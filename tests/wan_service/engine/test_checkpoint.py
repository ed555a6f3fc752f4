"""Loading the video model: how it is stored and run, what is wrong with it, and how it reads prompts."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from atelier.contracts.errors import ModelUnusable
from tests.kit.filming import STILL, TRANSFORMER, loaded, make, pipeline, pixels
from wan_service.engine.engine import WanEngine

# diffusers' schedulers still speak to numpy as before its version 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


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
    assert half.dtype == "bfloat16"
    assert pipeline(half).vae.dtype == torch.float32
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
        loaded(source)
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
def test_a_compiled_model_makes_the_same(engine: WanEngine, model: Path) -> None:
    compiled = loaded(model, compile=True)
    assert np.abs(pixels(make(compiled, STILL)) - pixels(make(engine, STILL))).max() <= 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused(model: Path) -> None:
    with pytest.raises(ModelUnusable, match="ATELIER_DEVICE is cuda, but torch sees no CUDA device"):
        loaded(model, device="cuda")


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


def test_tokens_are_those_of_the_text_as_the_pipeline_cleans_it(engine: WanEngine, model: Path) -> None:
    texts = ["", "a red boat", LONG, "a  red \n boat &amp; more ", "狐狸"]
    (count,) = engine.count_tokens("wan", texts)
    theirs = AutoTokenizer.from_pretrained(model / "tokenizer")
    cleaned = ["", "a red boat", LONG.strip(), "a red boat & more", "狐狸"]
    assert count.tokens == tuple(len(theirs(text, verbose=False).input_ids) for text in cleaned)
    assert (count.tokenizer, count.limit) == ("umt5", 512)


@pytest.mark.parametrize("space", [" ", "  \n "])
def test_reading_ends_where_the_library_cuts(engine: WanEngine, model: Path, space: str) -> None:
    theirs = AutoTokenizer.from_pretrained(model / "tokenizer")
    cut = theirs(LONG, truncation=True, max_length=512, return_offsets_mapping=True)["offset_mapping"]
    read = LONG[: max(end for _, end in cut)]
    text = LONG.replace(" ", space)
    ((place,),) = (count.read_characters for count in engine.count_tokens("wan", [text]))
    assert text[:place].split() == read.split()
    assert place < len(text)
