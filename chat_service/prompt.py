"""From messages to the tokens a model reads. Nothing is changed, cut or added besides the model's own template."""

import re
import secrets
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from shared.errors import InputTooLong, InvalidRequest, Violation

FIELD = "request.messages"


class Prompts:
    """Reads conversations with one tokenizer, a transformers fast tokenizer, for a context of so many tokens.

    What people write is text: a control token spelled out in a message does not end its turn or begin another's.
    """

    def __init__(self, tokenizer: Any, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._encoder: Tokenizer = tokenizer.backend_tokenizer
        # A tokenizer.json may carry both, and would then cut long conversations without a word.
        self._encoder.no_truncation()
        self._encoder.no_padding()
        self._literal: Tokenizer = Tokenizer.from_str(self._encoder.to_str())
        self._literal.encode_special_tokens = True
        added = self._encoder.get_added_tokens_decoder().values()
        self._control_tokens = [token.content for token in added if token.special]

    def chat(self, messages: Sequence[tuple[str, str]], max_tokens: int) -> list[int]:
        """Tokens of (role, content) pairs in the model's chat template. Raises InputTooLong and InvalidRequest."""
        literal: dict[str, str] = {}
        conversation = [{"role": role, "content": self._stand_in(content, literal)} for role, content in messages]
        try:
            text = self._tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            raise InvalidRequest(Violation(FIELD, "the model's chat template refuses this order of roles")) from error
        return self._fitting(self._encode(text, literal), max_tokens)

    def plain(self, messages: Sequence[tuple[str, str]], max_tokens: int) -> list[int]:
        """Tokens of the contents alone, one after the other on lines of their own. Raises InputTooLong."""
        text = "\n".join(content for _, content in messages)
        return self._fitting(self._literal.encode(text).ids, max_tokens)

    def _stand_in(self, content: str, literal: dict[str, str]) -> str:
        """The content, or in its place a word that nobody can guess if there is a control token in it."""
        if not any(token in content for token in self._control_tokens):
            return content
        word = secrets.token_hex(16)
        literal[word] = content
        return word

    def _encode(self, text: str, literal: dict[str, str]) -> list[int]:
        if not literal:
            return list(self._encoder.encode(text, add_special_tokens=False).ids)
        tokens: list[int] = []
        for part in re.split(f"({'|'.join(literal)})", text):
            encoder = self._literal if part in literal else self._encoder
            tokens += encoder.encode(literal.get(part, part), add_special_tokens=False).ids
        return tokens

    def _fitting(self, tokens: list[int], max_tokens: int) -> list[int]:
        room = self._context_tokens - max_tokens
        if len(tokens) > room:
            bound = f"at most {room} tokens ({self._context_tokens} of context less max_tokens {max_tokens})"
            raise InputTooLong(Violation(FIELD, f"{bound}, got {len(tokens)}"))
        return tokens
