"""CLIP's tokens that captions use, numbered closely: embeddings of 49,000 tokens need not be trained or shipped.

CLIP's own tokenizer splits prompts all the same; every token that no caption has is one and the same unknown word.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from atelier.small_models import clip_vocabulary
from training import words

UNKNOWN: Final[int] = 0
# How often, and how many, unknown words stand in a caption, so that a prompt may have some.
P_UNKNOWN: Final[float] = 0.1
MAX_UNKNOWN: Final[int] = 4
NO_CAPTION_HAS: Final[str] = "zebra"
PUNCTUATION: Final[str] = "! , . ; : - ( ) ' \""


class ClipWords:
    """Captions -> numbers of tokens, in both paddings of SDXL's two tokenizers."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "tokenizer_2").is_dir():
            clip_vocabulary.write_tokenizers(folder)
        self._tokenizers = [CLIPTokenizer.from_pretrained(folder / name) for name in ("tokenizer", "tokenizer_2")]
        self.known = self._known()
        self._numbers = np.full(clip_vocabulary.SIZE, UNKNOWN, np.int64)
        self._numbers[self.known] = np.arange(1, len(self.known) + 1)

    @property
    def size(self) -> int:
        """How many tokens there are, the unknown one among them."""
        return len(self.known) + 1

    def numbers(self, captions: Sequence[str], rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Returns [captions, 77] for each text encoder; with `rng`, unknown words are strewn into some captions."""
        found = []
        noisy = [with_unknown(caption, rng) if rng else caption for caption in captions]
        for tokenizer in self._tokenizers:
            ids = tokenizer(noisy, padding="max_length", truncation=True, max_length=clip_vocabulary.MAX_TOKENS)
            found.append(torch.from_numpy(self._numbers[np.asarray(ids["input_ids"])]))
        return found[0], found[1]

    def _known(self) -> np.ndarray:
        texts = [*PUNCTUATION.split(), *words.every_text()]
        ids = self._tokenizers[1](texts)["input_ids"]
        return np.array(sorted({token for text in ids for token in text}))


def with_unknown(caption: str, rng: np.random.Generator) -> str:
    """The caption, now and then with a few unknown words in it."""
    if not caption or rng.random() >= P_UNKNOWN:
        return caption
    parts = caption.split(" ")
    for _ in range(int(rng.integers(1, MAX_UNKNOWN + 1))):
        parts.insert(int(rng.integers(len(parts) + 1)), NO_CAPTION_HAS)
    return " ".join(parts)
