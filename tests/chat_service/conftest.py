"""A real engine on the real small chat model, and model folders small enough to break."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from atelier import small_models
from chat_service.engine.engine import TransformersEngine
from tests.kit.asking import loaded

TINY_CONTEXT = 2048


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """SmolLM2-135M-Instruct."""
    return small_models.ensure(["chat"])["chat"]


@pytest.fixture(scope="session")
async def engine(model_folder: Path) -> AsyncIterator[TransformersEngine]:
    """SmolLM2 as both logical models; shared by all tests, so leave it working."""
    engine = await loaded(model_folder, "qwen_instruct", "qwen_base", context_tokens=2048)
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def tiny_weights(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete model folder with random weights that make a token in a millisecond and never stop by themselves."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    torch.manual_seed(0)
    sizes: Any = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=49152, max_position_embeddings=TINY_CONTEXT, **sizes)
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_folder(tiny_weights: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may change."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for file in tiny_weights.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
