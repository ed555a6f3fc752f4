"""Both text encoders of the small SDXL, first alone: what does the caption say is in the picture?

Text costs little beside pictures. A UNet whose text encoders know that a bunny is a rabbit, and which of two objects is
the red one, has only to learn what a rabbit looks like.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.small_models import clip_vocabulary, sdxl_trained
from training.captions import caption
from training.clip_words import ClipWords
from training.facts import choices, facts
from training.scenes import scene
from training.task import Device

ROWS: Final[int] = 96
# Encoders are causal: the first tokens of a caption mean the same however many follow.
SHORT: Final[int] = 36
P_WHOLE: Final[float] = 0.1
SEED: Final[int] = 1 << 42
MAX_SKIP: Final[int] = 4


@dataclass(frozen=True)
class Told:
    """Numbers of tokens for each encoder, and what they say."""

    first: Tensor
    second: Tensor
    answers: Tensor


class Questions(nn.Module):
    """One question a fact, asked of the tokens, as cross attention will, and of the pooled text."""

    def __init__(self, width: int, pooled: int) -> None:
        super().__init__()
        self.counts = choices()
        self.queries = nn.Parameter(0.02 * torch.randn(len(self.counts), width))
        self.keys = nn.Linear(width, width)
        self.of_tokens = nn.ModuleList(nn.Linear(width, count) for count in self.counts)
        self.of_pooled = nn.Linear(pooled, sum(self.counts))

    def forward(self, tokens: Tensor, pooled: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Returns for every question the answers of tokens and of the pooled text."""
        weights = (self.queries @ self.keys(tokens).mT).softmax(-1)
        found = (weights @ tokens).unbind(1)
        whole = self.of_pooled(pooled).split(self.counts, -1)
        return [(head(seen), said) for head, seen, said in zip(self.of_tokens, found, whole, strict=True)]


class SdxlWords:
    """Trains text_encoder and text_encoder_2."""

    name = "sdxl-words"
    learning_rate = 1.5e-3

    def __init__(self, device: Device, folder: Path) -> None:
        self._device = device
        self.words = ClipWords(folder / "clip")
        torch.manual_seed(2)
        self.text_encoder, self.text_encoder_2 = sdxl_trained.text_encoders(self.words.size)
        self.questions = Questions(sum(sdxl_trained.TEXT_WIDTHS), sdxl_trained.POOLED_WIDTH)
        self._right: list[float] = []

    def modules(self) -> Mapping[str, nn.Module]:
        return {
            "text_encoder": self.text_encoder,
            "text_encoder_2": self.text_encoder_2,
            "questions": self.questions,
        }

    def draw(self, step: int) -> Told:
        rng = np.random.default_rng((SEED, step))
        scenes = [scene(SEED + step * 1024 + row) for row in range(ROWS * self._device.scale)]
        texts = [caption(drawn, rng) for drawn in scenes]
        answers = torch.from_numpy(np.stack([facts(*both) for both in zip(scenes, texts, strict=True)]))
        length = clip_vocabulary.MAX_TOKENS if rng.random() < P_WHOLE else SHORT
        first, second = (ids[:, :length] for ids in self.words.numbers(texts, rng))
        there = torch.isin(first, first[:1, 0] + 1).any(
            1
        )  # ends within `length`: the end token is numbered after the start token
        return Told(first[there], second[there], answers[there])

    def samples(self, batch: Told) -> int:
        return len(batch.answers)

    def loss(self, batch: Told, step: int) -> Tensor:
        answers = batch.answers.to(self._device.torch)
        losses = [
            F.cross_entropy(tokens, wanted) + F.cross_entropy(pooled, wanted)
            for (tokens, pooled), wanted in zip(self._answered(batch, step), answers.unbind(1), strict=True)
        ]
        return torch.stack(losses).mean()

    def grid(self) -> Image.Image:
        """How many of 192 new captions are understood, question by question."""
        held = [self.draw((1 << 20) + part) for part in range(2)]
        right = np.mean([self._right_of(batch) for batch in held], 0)
        picture = Image.new("RGB", (420, 16 * len(right) + 8), "white")
        for row, (tokens, pooled) in enumerate(right):
            said = f"question {row:2}: {tokens:6.1%} of tokens, {pooled:6.1%} of pooled"
            ImageDraw.Draw(picture).text((8, 4 + 16 * row), said, fill="black")
        return picture

    def _right_of(self, batch: Told) -> np.ndarray:
        rows = []
        for both, wanted in zip(self._answered(batch, 0), batch.answers.unbind(1), strict=True):
            rows.append([float((said.argmax(-1).cpu() == wanted).float().mean()) for said in both])
        return np.array(rows)

    def _answered(self, batch: Told, step: int) -> list[tuple[Tensor, Tensor]]:
        layer = -2 - step % (MAX_SKIP + 1) * (step % 3 == 1)
        with self._device.autocast():
            first = self.text_encoder(batch.first.to(self._device.torch), output_hidden_states=True)
            second = self.text_encoder_2(batch.second.to(self._device.torch), output_hidden_states=True)
            tokens = torch.cat([first.hidden_states[layer], second.hidden_states[layer]], -1)
            found: list[tuple[Tensor, Tensor]] = self.questions(tokens.float(), second.text_embeds.float())
        return found
