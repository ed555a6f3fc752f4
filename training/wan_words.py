"""The vocabulary of the small Wan: every word of the captions is a token."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from atelier.small_models import wan_trained
from training import words
from training.clip_words import with_unknown

PUNCTUATION: Final[tuple[str, ...]] = (",", ".", "!", "-", "(", ")", ":", ";", "'", '"')


class WanWords:
    """Captions -> numbers of tokens and which of them are words."""

    def __init__(self) -> None:
        self.words = [*PUNCTUATION, *sorted(set(re.findall(r"\w+", " ".join(words.every_text()).lower())))]
        self.tokenizer = wan_trained.tokenizer(self.words)

    def numbers(self, captions: Sequence[str], rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Returns ids and mask, each [captions, longest]; with `rng`, unknown words are strewn into some captions."""
        noisy = [with_unknown(caption, rng) if rng else caption for caption in captions]
        found = self.tokenizer(noisy, padding="longest", truncation=True, max_length=wan_trained.MAX_TOKENS)
        return torch.tensor(found["input_ids"]), torch.tensor(found["attention_mask"])
