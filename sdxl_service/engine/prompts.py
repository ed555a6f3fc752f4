"""Prompts -> what a pipeline is told: the texts themselves, or embeddings in which weighted words count more or less.

The weighing is compel's. Its own parser is not used: it reads a part of what callers write, and it shows the marks to
the pooled embedding as if they were words.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.prompt_weights import Piece, Unreadable, read
from sdxl_service.engine.interface import ImageRequest
from shared.worker.engine import Phase, Report, Step

COMMA = Piece(", ", 1.0)
MAX_RUNS = 256
"""Of each text encoder for one request."""


def condition(pipeline: Any, request: ImageRequest, report: Report) -> dict[str, Any]:
    """The pipeline's arguments for the prompts of a request. Raises InvalidRequest for weights that cannot be read.

    `report` is called before every run of a text encoder: many weights below 1 make many.
    """
    if not request.weighted:
        # None is what SDXL was trained with for "no prompt".
        return {"prompt": request.prompt, "negative_prompt": request.negative_prompt or None}
    # As the pipelines have it: layers are left out for what is wanted, and never for what is not.
    wanting, refusing = _Encoders(pipeline, request.clip_skip or 0, report), _Encoders(pipeline, 0, report)
    prompt, more = wanting.pieces("prompt", request.prompt), wanting.pieces("weights", request.weights)
    negative = refusing.pieces("negative_prompt", request.negative_prompt)
    positive = [*prompt, COMMA, *more] if prompt and more else [*prompt, *more]
    if (runs := wanting.runs(positive) + refusing.runs(negative)) > MAX_RUNS:
        product = "parts of the length that a text encoder reads x (1 + pieces that count less than 1)"
        says = f"{product}, those of the negative prompt added, must be at most {MAX_RUNS}, got {runs}"
        raise InvalidRequest(Violation("prompt", says))
    wanted = wanting.embed(positive)
    if negative or not pipeline.config.force_zeros_for_empty_prompt:
        unwanted = refusing.embed(negative)
    else:
        unwanted = Embedded(*(torch.zeros_like(tensor) for tensor in wanted))
    length = max(wanted.words.shape[1], unwanted.words.shape[1])
    return {
        "prompt_embeds": _lengthened(wanted.words, wanted.nothing, length),
        "pooled_prompt_embeds": wanted.pooled,
        "negative_prompt_embeds": _lengthened(unwanted.words, unwanted.nothing, length),
        "negative_pooled_prompt_embeds": unwanted.pooled,
    }


class Embedded(NamedTuple):
    """A prompt as the model reads it: `words` of shape (1, tokens, features), `pooled` of shape (1, features).

    `nothing` is the same for no words at all, one part long.
    """

    words: torch.Tensor
    pooled: torch.Tensor
    nothing: torch.Tensor


class _Encoders:
    """The two text encoders of a pipeline, in compel's hands. Long prompts are read in as many parts as it takes."""

    def __init__(self, pipeline: Any, skip: int, report: Report) -> None:
        """`skip` counts the encoders' last layers that are left out."""
        # Here, where the libraries have been quietened: it imports the pipelines of many other models.
        from compel import EmbeddingsProvider, ReturnedEmbeddingsType

        self._device = pipeline._execution_device
        pairs = (pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)
        self._providers = [
            EmbeddingsProvider(
                tokenizer,
                _Shortened(encoder, self._device, skip, report),
                truncate=False,
                returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
                device=self._device,
            )
            for tokenizer, encoder in pairs
        ]

    def pieces(self, field: str, text: str) -> list[Piece]:
        """The pieces of a text that are something to the tokenizers. Raises InvalidRequest, naming the field."""
        try:
            found = read(text)
        except Unreadable as error:
            raise InvalidRequest(Violation(field, str(error))) from None
        provider = self._providers[0]
        markers = {*provider.bos_sequence, *provider.eos_sequence}
        tokens = [set(provider.get_token_ids([piece.text], include_start_and_end_markers=False)[0]) for piece in found]
        if any(markers & each for each in tokens):
            raise InvalidRequest(Violation(field, "has a control word of the model, which must stand without weights"))
        return [piece for piece, each in zip(found, tokens, strict=True) if each]

    def runs(self, pieces: Sequence[Piece]) -> int:
        """How often each encoder runs for these: over all parts of the text, once more for each that counts less."""
        room = min(int(provider.max_token_count) for provider in self._providers) - 2
        tokens = max(sum(_tokens(provider, piece.text) for piece in pieces) for provider in self._providers)
        return math.ceil(tokens / room) * (1 + sum(piece.weight < 1 for piece in pieces))

    def embed(self, pieces: Sequence[Piece]) -> Embedded:
        texts, weights = [piece.text for piece in pieces] or [""], [piece.weight for piece in pieces] or [1.0]
        words = [
            provider.get_embeddings_for_weighted_prompt_fragments([texts], [weights], device=self._device)
            for provider in self._providers
        ]
        nothing = [provider.empty_z for provider in self._providers]
        # The tokenizers do not always agree: "!" fills the second one's parts, so that "!!!" is three words to it.
        longest = max(each.shape[1] for each in words)
        words = [_lengthened(*each, longest) for each in zip(words, nothing, strict=True)]
        pooled = self._providers[1].get_pooled_embeddings([" ".join(texts)], device=self._device)
        return Embedded(torch.cat(words, dim=-1), pooled, torch.cat(nothing, dim=-1))


def _tokens(provider: Any, text: str) -> int:
    found: list[list[int]] = provider.get_token_ids([text], include_start_and_end_markers=False)
    return len(found[0])


def _lengthened(words: torch.Tensor, nothing: torch.Tensor, tokens: int) -> torch.Tensor:
    """The words, followed by as much of nothing as makes them so long."""
    missing = (tokens - words.shape[1]) // nothing.shape[1]
    return torch.cat([words, nothing.repeat(1, missing, 1)], dim=1)


class _Shortened:
    """A text encoder as compel calls it, with its last layers left out: compel always takes the last but one."""

    def __init__(self, encoder: Any, device: torch.device, skip: int, report: Report) -> None:
        """`device` is where it runs: where it is now may be another, while it is offloaded."""
        self._encoder, self._skip, self._report = encoder, skip, report
        self.device, self.dtype = device, encoder.dtype

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._report(Step(Phase.ENCODING))
        output = self._encoder(*args, **options)
        if self._skip and output.hidden_states:
            output.hidden_states = output.hidden_states[: -self._skip]
        return output
