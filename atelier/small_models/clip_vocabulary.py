"""CLIP's own byte-pair vocabulary, as two tokenizers that split text exactly as full-size SDXL does."""

import gzip
import json
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from atelier.small_models.wheels import WheelFile, read

VOCABULARY = WheelFile(
    package="open-clip-torch",
    version="3.3.0",
    sha256="c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
    member="open_clip/bpe_simple_vocab_16e6.txt.gz",
)
SPECIAL_TOKENS = ["<|startoftext|>", "<|endoftext|>"]
SIZE = 49408
MAX_TOKENS = 77


def write_tokenizers(folder: Path) -> None:
    """Write `tokenizer` and `tokenizer_2` under `folder`; as in SDXL they differ in the token they pad with."""
    merges = _merges()
    vocabulary = _vocabulary(merges)
    for name, pad_token in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        pairs = [tuple(merge.split()) for merge in merges]
        tokenizer = CLIPTokenizer(vocab=vocabulary, merges=pairs, pad_token=pad_token, model_max_length=MAX_TOKENS)
        tokenizer.save_pretrained(folder / name)
        (folder / name / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        (folder / name / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")


def _merges() -> list[str]:
    """The merges in use: the file has a heading and more merges than CLIP's vocabulary takes."""
    lines = gzip.decompress(read(VOCABULARY)).decode().split("\n")
    return lines[1 : SIZE - 2 * 256 - len(SPECIAL_TOKENS) + 1]


def _vocabulary(merges: list[str]) -> dict[str, int]:
    """Every byte, every byte at the end of a word, every merge, the special tokens: in this order, numbered from 0."""
    letters = _bytes_as_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    return {token: number for number, token in enumerate([*tokens, *SPECIAL_TOKENS])}


def _bytes_as_letters() -> list[str]:
    """The 256 letters of byte-level BPE in CLIP's order: bytes that print as themselves first, then the stand-ins."""
    return sorted(ByteLevel.alphabet())
