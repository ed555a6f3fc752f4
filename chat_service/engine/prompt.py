"""From messages to the tokens a model reads. Nothing is changed, cut or added besides the model's own template."""

import math
import re
import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from atelier.contracts.errors import InputTooLong, InvalidRequest, Violation
from shared.worker.tokens import encoded

FIELD = "request.messages"
# Conversations that show what a template adds: with the edge's system message first, two messages and then two more.
SHORT, LONG = ("system", "user"), ("system", "user", "assistant", "user")


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

    def lengths(self, contents: Sequence[str]) -> tuple[int, ...]:
        """The number of tokens of each content by itself."""
        return tuple(len(encoded(self._literal, content, add_special_tokens=False).ids) for content in contents)

    @cached_property
    def added_by_template(self) -> int:
        """Most tokens that the template adds to a message, counting the heading of the answer as a message too.

        0 for a model without a template, or with one that refuses a conversation which begins with a system message.
        """
        try:
            short, long = self._added(SHORT), self._added(LONG)
        except InvalidRequest:
            return 0
        each = (long - short) / (len(LONG) - len(SHORT))
        return math.ceil(max(each, short / (len(SHORT) + 1), long / (len(LONG) + 1)))

    def _added(self, roles: Sequence[str]) -> int:
        return len(self.chat([(role, "x") for role in roles], 0)) - len(roles) * sum(self.lengths(["x"]))

    @cached_property
    def added_to_a_line(self) -> int:
        """Most tokens that `plain` adds to a content: the end of its line, and what every text begins or ends with."""
        return 1 + len(self._literal.encode("").ids)

    def _stand_in(self, content: str, literal: dict[str, str]) -> str:
        """The content, or an unguessable word in its place if there is a control token in it."""
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
