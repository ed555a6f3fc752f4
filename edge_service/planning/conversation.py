"""A chat request -> the conversation that the model reads: the edge's system prompt first, the oldest turns left out.

The system prompt is the edge's, from the context and the content mode. A caller's own system messages stay where they
are, after it, word for word: they may set a tone or a role. The rules for messages apply to them too, because a system
prompt alone only asks the model for something, and any message can talk it out of that again. The base model gets the
same: for it all of this is text that goes on.

Where the conversation is longer than the model reads, turns of user and assistant are left out, the oldest first; never
a system message, never the newest message, and no message is cut or changed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from atelier.contracts.errors import AtelierError, InputTooLong, Violation
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.content_mode import mode_word
from edge_service.domain.decisions import decide
from edge_service.planning.chat_contexts import DEFAULT, contexts
from edge_service.planning.token_budget import NOT_COUNTED, Count

# As the contract bounds what a worker takes.
MAX_MESSAGES, MAX_CHARACTERS = 256, 262_144


@dataclass(frozen=True)
class _Message:
    """A message with the tokens it takes, those of the template included; 0 if no worker could count them."""

    message: chat_pb2.ChatMessage
    tokens: int

    @property
    def kept(self) -> bool:
        return self.message.role == chat_pb2.CHAT_ROLE_SYSTEM


@dataclass(frozen=True)
class _Room:
    """What the model takes of messages; `limit` counts their tokens together with those of the answer."""

    limit: int
    max_tokens: int
    answer: int
    """Tokens that the template puts before the answer."""

    def fits(self, messages: Sequence[_Message]) -> bool:
        return not self.problem(messages)

    def problem(self, messages: Sequence[_Message]) -> str:
        """The bound that the messages break, with what they have; empty if they break none."""
        tokens = sum(message.tokens for message in messages) + self.answer
        characters = sum(len(message.message.content) for message in messages)
        if len(messages) > MAX_MESSAGES:
            return f"at most {MAX_MESSAGES} messages, got {len(messages)}"
        if characters > MAX_CHARACTERS:
            return f"at most {MAX_CHARACTERS} characters, got {characters}"
        if self.limit and tokens > self.limit - self.max_tokens:
            bound = f"at most {max(0, self.limit - self.max_tokens)} tokens"
            return f"{bound} ({self.limit} of context less max_tokens {self.max_tokens}), got {tokens}"
        return ""


def mode_of(request: chat_pb2.ChatRequest, context_name: str, mode: edge_pb2.ContentMode) -> "edge_pb2.ContentMode":
    """The strictest of the caller's mode, the request's sfw_mode and the context; the content rules of this one apply.

    Raises InvalidRequest for an unknown context."""
    own = contexts().context(context_name).mode(mode)
    return edge_pb2.CONTENT_MODE_SFW if request.sfw_mode else own


def system_prompt(context_name: str, mode: edge_pb2.ContentMode) -> str:
    """What the edge says before all messages. Raises InvalidRequest for an unknown context."""
    return contexts().context(context_name).prompt(mode)


async def converse(
    request: chat_pb2.ChatRequest, context_name: str, mode: edge_pb2.ContentMode, count: Count
) -> chat_pb2.ChatRequest:
    """The conversation as the worker gets it, from a request whose max_tokens and model are set.

    Raises InvalidRequest for an unknown context, and InputTooLong if the newest message does not fit by itself."""
    mode = mode_of(request, context_name, mode)
    first = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_SYSTEM, content=system_prompt(context_name, mode))
    _tell_mode(request, context_name, mode)
    measured, room = await _measured([first, *request.messages], request.max_tokens, count)
    kept = _newest(measured, room)
    asked = chat_pb2.ChatRequest()
    asked.CopyFrom(request)
    del asked.messages[:]
    asked.messages.extend(message.message for message in kept)
    asked.sfw_mode = mode_word(mode) == "sfw"
    _tell_left_out(measured, kept, room)
    return asked


async def _measured(
    messages: Sequence[chat_pb2.ChatMessage], max_tokens: int, count: Count
) -> tuple[list[_Message], _Room]:
    """The messages with what they take, and the room there is; without a worker that counts, no bound on tokens."""
    try:
        found = (await count([message.content for message in messages]))[0]
    except AtelierError:
        decide("messages", "", "", NOT_COUNTED)
        return [_Message(message, 0) for message in messages], _Room(0, max_tokens, 0)
    tokens = [own + found.tokens_per_message for own in found.tokens]
    room = _Room(found.limit, max_tokens, found.tokens_per_message)
    return [_Message(*pair) for pair in zip(messages, tokens, strict=True)], room


def _newest(messages: Sequence[_Message], room: _Room) -> Sequence[_Message]:
    """As many of the newest messages as fit, with all system messages. Raises InputTooLong."""
    turns = [place for place, message in enumerate(messages[:-1]) if not message.kept]
    needed = bisect_left(range(len(turns) + 1), True, key=lambda gone: room.fits(_without(messages, turns[:gone])))
    if needed > len(turns):
        problem = room.problem(_without(messages, turns))
        raise InputTooLong(Violation("messages", f"the system messages and the newest one must have {problem}"))
    # An answer whose question is left out means nothing, and some templates refuse it.
    while 0 < needed < len(turns) and messages[turns[needed]].message.role == chat_pb2.CHAT_ROLE_ASSISTANT:
        needed += 1
    return _without(messages, turns[:needed])


def _without(messages: Sequence[_Message], gone: Sequence[int]) -> list[_Message]:
    left_out = set(gone)
    return [message for place, message in enumerate(messages) if place not in left_out]


def _tell_mode(request: chat_pb2.ChatRequest, context_name: str, mode: edge_pb2.ContentMode) -> None:
    word = mode_word(mode)
    why = f"system prompt of context {context_name or DEFAULT} in content mode {word}, before all messages"
    decide("messages", "", "system", why)
    if request.sfw_mode != (word == "sfw"):
        decide("sfw_mode", "false", "true", "the strictest of account, policy, context and request")


def _tell_left_out(messages: Sequence[_Message], kept: Sequence[_Message], room: _Room) -> None:
    turns, left = (sum(not message.kept for message in found) for found in (messages, kept))
    if turns != left:
        why = f"the oldest {turns - left} of {turns} turns were left out: a conversation has {room.problem(messages)}"
        decide("messages", str(turns), str(left), why, notable=True)
