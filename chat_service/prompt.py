"""From messages to the tokens a model reads. Nothing is changed, cut or added besides the model's own template."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from shared.errors import InputTooLong, InvalidRequest, Violation

FIELD = "request.messages"


class Prompts:
    """Reads conversations with one tokenizer, a transformers fast tokenizer, for a context of so many tokens."""

    def __init__(self, tokenizer: Any, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._encoder = tokenizer.backend_tokenizer
        # A tokenizer.json may carry both, and would then cut long conversations without a word.
        self._encoder.no_truncation()
        self._encoder.no_padding()

    def chat(self, messages: Sequence[tuple[str, str]], max_tokens: int) -> list[int]:
        """Tokens of (role, content) pairs in the model's chat template. Raises InputTooLong and InvalidRequest."""
        conversation = [{"role": role, "content": content} for role, content in messages]
        try:
            text = self._tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            raise InvalidRequest(Violation(FIELD, "the model's chat template refuses this order of roles")) from error
        return self._fitting(self._encoder.encode(text, add_special_tokens=False).ids, max_tokens)

    def plain(self, messages: Sequence[tuple[str, str]], max_tokens: int) -> list[int]:
        """Tokens of the contents alone, one after the other on lines of their own. Raises InputTooLong."""
        text = "\n".join(content for _, content in messages)
        return self._fitting(self._encoder.encode(text, add_special_tokens=True).ids, max_tokens)

    def _fitting(self, tokens: list[int], max_tokens: int) -> list[int]:
        room = self._context_tokens - max_tokens
        if len(tokens) > room:
            bound = f"at most {room} tokens ({self._context_tokens} of context less max_tokens {max_tokens})"
            raise InputTooLong(Violation(FIELD, f"{bound}, got {len(tokens)}"))
        return tokens
