"""A job or an answer under way: iterate to see it go on, await to have what it made."""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any

from atelier.errors import Internal, job_is_done, translated
from atelier.events import Ended, Event
from atelier.results import Answer, File, Job, answer

if TYPE_CHECKING:
    from atelier.client import AsyncClient


class JobHandle:
    """A job that was submitted.

    async for event in handle: ...     its events, until it has ended
    files = await handle               what it made; raises the AtelierError that ended it otherwise
    """

    def __init__(self, client: AsyncClient, submitting: Future[Job]) -> None:
        self._client, self._submitting = client, submitting
        self._ended: Job | None = None

    def __repr__(self) -> str:
        return f"JobHandle({self._told()})"

    async def submitted(self) -> Job:
        """The job as the edge accepted it, with its id."""
        return await self._submitting

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for event in self._client.watch((await self.submitted()).id):
            if isinstance(event, Ended):
                self._ended = event.job
            yield event

    def __await__(self) -> Generator[Any, None, list[File]]:
        return self.result().__await__()

    async def result(self) -> list[File]:
        """Waits for the end and downloads what was made. Raises the AtelierError that ended the job otherwise.

        Raises PermissionDenied, with the job's id, if it is done and what calls may not read assets.
        """
        job = await self.ended()
        if job.error:
            raise job.error
        with job_is_done(job.id):
            return [await self._client.download(asset) for asset in job.assets]

    async def ended(self) -> Job:
        """Waits for the end, good or bad, and returns the job in its final state."""
        while self._ended is None:
            async for _ in self:
                pass
        return self._ended

    async def cancel(self) -> Job:
        """Cancels the job and returns it in its final state."""
        return await self._client.cancel((await self.submitted()).id)

    def _told(self) -> str:
        """What is known without asking: a status of long ago would mislead, so only a final one is told."""
        if not self._submitting.done():
            return "not submitted yet"
        if self._submitting.cancelled() or self._submitting.exception():
            return "not submitted"
        status = f", status={self._ended.status!r}" if self._ended else ""
        return f"id={self._submitting.result().id!r}{status}"


class ChatHandle:
    """An answer that is being made. Giving up the iteration stops the model.

    async for text in handle: ...      the pieces of the answer
    answer = await handle              the whole answer, also after the iteration
    """

    def __init__(self, call: Any, address: str) -> None:
        self._call, self._address = call, address
        self._answer: Answer | None = None
        self.job: Job | None = None
        """The record of this turn, once it was accepted."""

    def __repr__(self) -> str:
        return f"ChatHandle(id={self.job.id!r})" if self.job else "ChatHandle(not accepted yet)"

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            with translated(self._address):
                async for event in self._call:
                    match event.WhichOneof("event"):
                        case "accepted":
                            self.job = Job(event.accepted)
                        case "delta":
                            yield event.delta.text
                        case "callback":
                            self._answer = answer(event.callback)
        finally:
            self._call.cancel()

    def __await__(self) -> Generator[Any, None, Answer]:
        return self.result().__await__()

    async def result(self) -> Answer:
        """Waits for the whole answer."""
        if self._answer is None:
            async for _ in self:
                pass
        if self._answer is None:
            raise Internal("the edge ended the answer without its callback")
        return self._answer
