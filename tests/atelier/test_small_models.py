"""The small models: made once, found again quickly, and true to the real ones where it matters."""

import filecmp
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPTokenizer

from atelier.small_models import SmallModelError, cache, ensure, wan

FIND_AGAIN = """
import sys, time
from atelier.small_models import ensure
started = time.monotonic()
ensure()
print("torch" in sys.modules, time.monotonic() - started)
"""


@pytest.fixture(scope="session")
def models() -> dict[str, Path]:
    return ensure()


def make(kind: str, cache: Path, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m atelier.small_models kind` on a cache of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "atelier.small_models", kind],
        env=os.environ | {"ATELIER_CACHE": str(cache)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_models_are_found_again_at_once_and_without_torch(models: dict[str, Path]) -> None:
    answer = subprocess.run([sys.executable, "-c", FIND_AGAIN], capture_output=True, text=True, check=True).stdout
    torch_imported, seconds = answer.split()
    assert torch_imported == "False"
    assert float(seconds) < 0.1


def test_two_processes_make_one_model_and_the_same_one_every_time(models: dict[str, Path], tmp_path: Path) -> None:
    makers = [make("wan", tmp_path) for _ in range(2)]
    outputs = [maker.communicate()[0] for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert "".join(outputs).count("making") == 1
    (folder,) = (tmp_path / "models").glob("[!.]*")
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert filecmp.cmp(folder / weights, models["wan"] / weights, shallow=False)


def test_a_making_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        (folder / "half.safetensors").write_bytes(b"half")
        raise SmallModelError("no luck")

    monkeypatch.setattr(wan, "make", fail)
    with pytest.raises(SmallModelError, match="no luck"):
        ensure(["wan"], cache=tmp_path)
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_a_package_index_out_of_reach_is_one_clear_line(tmp_path: Path) -> None:
    maker = make("sdxl", tmp_path, PIP_NO_INDEX="1")
    errors = maker.communicate()[1].splitlines()
    assert maker.returncode == 1
    assert len(errors) == 1
    assert errors[0].startswith("error: cannot download open-clip-torch==3.3.0")
    assert "ATELIER_MODEL" in errors[0]


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(SmallModelError, match="unknown small model 'music'"):
        ensure(["music"])


def test_sdxl_splits_text_into_clips_own_tokens(models: dict[str, Path]) -> None:
    first = CLIPTokenizer.from_pretrained(models["sdxl"] / "tokenizer")
    second = CLIPTokenizer.from_pretrained(models["sdxl"] / "tokenizer_2")
    words = [320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496]
    assert first("a photo of an astronaut riding a horse on mars").input_ids == [49406, *words, 49407]
    assert first("cat", padding="max_length").input_ids == [49406, 2368] + [49407] * 75
    assert second("cat", padding="max_length").input_ids == [49406, 2368, 49407] + [0] * 74


def test_wan_has_a_token_for_every_character(models: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models["wan"] / "tokenizer")
    text = "".join(chr(code) for code in range(0x21, 0x20000, 7) if not 0xD800 <= code < 0xE000)
    tokens = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in tokens
    assert tokenizer.decode(tokens, skip_special_tokens=True) == text
    assert len(tokenizer("A red boat drifts on a calm lake.").input_ids) <= 10


def test_the_chat_model_chats(models: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models["chat"])
    model = AutoModelForCausalLM.from_pretrained(models["chat"], use_safetensors=True, dtype="float32")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :])


# What each version was made by. A recipe that changes under the same version leaves stale models in every cache.
RECIPES = {
    "sdxl": ("atelier-small-sdxl-3", ["sdxl.py", "clip_vocabulary.py"], "dda593421f2cb552"),
    "wan": ("atelier-small-wan-2", ["wan.py", "sentences.py"], "e394e8da38b5d157"),
    "chat": ("SmolLM2-135M-Instruct-1", ["chat.py"], "649f0e80031925d4"),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_that_changes_gets_a_new_version(kind: str):
    version, files, digest = RECIPES[kind]
    folder = Path(cache.__file__).parent
    code = "".join((folder / name).read_text() for name in files)
    assert cache.FOLDERS[kind] == version
    assert hashlib.sha256(code.encode()).hexdigest()[:16] == digest, (
        "raise the version in cache.py, then note both here"
    )
