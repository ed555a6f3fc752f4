"""What a model says of a request, where `policies/content.yaml` wants it asked besides its rules."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from edge_service.intake.content import Content, Mode, content
from shared.errors import ContentNotAllowed

Classifier = Callable[[Mapping[str, str]], Awaitable[str]]
"""Is given the texts of a request by field, and answers one word such as "sfw"."""


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
