"""What a model says of a request, where `policies/content.yaml` wants it asked besides its rules."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping

from atelier.contracts.errors import ContentNotAllowed
from atelier.pb.chat.v1 import chat_pb2
from edge_service.domain.content_mode import Mode
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.moderation.rules import Content, content

# A word that something follows, so that it is whole.
FIRST_WORD = re.compile(r"\W*(\w+)\W")
Classifier = Callable[[Mapping[str, str]], Awaitable[str]]
"""Is given the texts of a request by field, and answers one word such as "sfw"."""


def by_chat(chat: ChatWorkers, owner: str) -> Classifier:
    """Asks the chat workers on behalf of an owner, as the policy words it."""

    async def ask(texts: Mapping[str, str]) -> str:
        wanted = content().classification
        assert wanted is not None
        said = ((chat_pb2.CHAT_ROLE_SYSTEM, wanted.prompt), (chat_pb2.CHAT_ROLE_USER, "\n".join(texts.values())))
        messages = [chat_pb2.ChatMessage(role=role, content=text) for role, text in said]
        request = chat_pb2.ChatRequest(
            messages=messages, max_tokens=100, temperature=0, top_p=1, model=chat_pb2.CHAT_MODEL_QWEN_INSTRUCT
        )
        callback = await chat.ask(owner, request, enough=lambda said: bool(FIRST_WORD.match(said)))
        word = FIRST_WORD.match(callback.assets[0].content + " ")
        return word.group(1) if word else ""

    return ask


async def classify(texts: Mapping[str, str], mode: Mode, ask: Classifier | None, rules: Content | None = None) -> str:
    """Raises ContentNotAllowed unless the classifier answers with a word that passes. Returns what was asked, for the
    job's decisions; empty if the policy wants nothing asked in this mode.

    It fails closed: no classifier, an error, a late answer and any other word do not pass.
    """
    wanted = (rules or content()).classification
    if wanted is None or mode not in wanted.modes:
        return ""
    answer = await _answer(texts, ask, wanted.seconds) if ask else ""
    if answer not in wanted.passes:
        raise ContentNotAllowed(f"{', '.join(sorted(texts))}: not classified as {' or '.join(wanted.passes)}")
    return f"classified as {answer}"


async def _answer(texts: Mapping[str, str], ask: Classifier, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            return (await ask(texts)).strip().lower()
    except Exception:
        return ""
