"""What the demonstration makes: one image, one video, one answer, each by its real service."""

import time
from pathlib import Path

from atelier.cli.screen import Screen
from atelier.client import AsyncClient
from atelier.events import Progressed
from atelier.handles import JobHandle

SUBJECT = "a red fox in the snow, golden evening light"
QUESTION = "In two sentences: why is the sky blue?"


async def show(client: AsyncClient, out: Path, shown: Screen) -> None:
    """Makes the three one after another into `out`. Raises the AtelierError that ended one."""
    shown.say("the small models have random weights: they show that the whole way works, and draw coloured noise")
    await _follow(client.image(SUBJECT), "image", out, shown)
    await _follow(client.video(SUBJECT), "video", out, shown)
    await _ask(client, out, shown)


async def _follow(handle: JobHandle, what: str, out: Path, shown: Screen) -> None:
    began, first = time.monotonic(), 0.0
    shown.say(f"\n{what}: {SUBJECT}", making=what)
    async for event in handle:
        if isinstance(event, Progressed) and not first:
            first = time.monotonic() - began
        shown.event(event)
    for file in await handle:
        shown.saved(file, file.save(out / file.name))
    _timed(what, began, first, shown)


async def _ask(client: AsyncClient, out: Path, shown: Screen) -> None:
    began, first = time.monotonic(), 0.0
    shown.say(f"\nchat: {QUESTION}", making="chat")
    chat = client.chat(QUESTION, stream=True, temperature=0.0, max_tokens=100)
    async for piece in chat:
        first = first or time.monotonic() - began
        shown.text(piece)
    answer = await chat
    path = out / "answer.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(answer.text + "\n")
    shown.say(f"{path}  by {answer.model}", saved=str(path), model=answer.model)
    _timed("chat", began, first, shown)


def _timed(what: str, began: float, first: float, shown: Screen) -> None:
    seconds = time.monotonic() - began
    text = f"{what} took {seconds:.1f} s, its first sign of life {first:.2f} s"
    shown.say(text, made=what, seconds=seconds, first_seconds=first)
