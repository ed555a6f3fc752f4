"""Runs denoising jobs step by step: at every step boundary rows join, leave, or are cancelled.

A job becomes rows of work, one for each image or clip. One thread, the engine's, runs every step; jobs take turns of
one step each. What comes before the first step (text and reference encoding) and after the last (decoding, file
encoding) runs in a second thread, so that it does not hold up the steps of others. All state belongs to the event loop.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from atelier.contracts.errors import Cancelled, EngineFailed
from shared.worker.blocking import carried, ended
from shared.worker.engine import Phase, Report, Step

ResultT = TypeVar("ResultT")


class Row(Protocol):
    """One image or clip on its way: how many denoising steps it has done, and how many it takes."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


RequestT = TypeVar("RequestT")
RowT = TypeVar("RowT", bound=Row)
MediaT = TypeVar("MediaT")
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
MediaT_co = TypeVar("MediaT_co", covariant=True)


class Stepper(Protocol[RequestT_contra, RowT, MediaT_co]):
    """What a model family provides. Every method blocks, and may raise; the job that it worked for fails with that."""

    def begin(self, request: RequestT_contra, report: Report) -> Sequence[RowT]:
        """Encodes prompts and references and draws noise. Called in the second thread."""

    def key(self, row: RowT) -> Hashable:
        """Rows with equal keys may share a step."""

    def step(self, rows: Sequence[RowT]) -> None:
        """One denoising step of rows with equal keys; counts it in each row. Called in the engine's thread."""

    def finish(self, row: RowT, report: Report) -> MediaT_co:
        """Decodes a denoised row and encodes its file. Called in the second thread."""


class _Job(Generic[RequestT, RowT]):
    """One request on its way. `events` carries what its reader gets; None ends it."""

    def __init__(self, request: RequestT) -> None:
        self.request = request
        self.rows: Sequence[RowT] = ()
        self.gone = False
        self.pending: Future[Any] | None = None
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.denoised: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()

    def report(self, step: Step) -> None:
        """Passes progress on, from any thread. Raises Cancelled once the reader has gone."""
        self.check()
        self._loop.call_soon_threadsafe(self.events.put_nowait, step)

    def check(self) -> None:
        if self.gone:
            raise Cancelled("the caller has gone")

    def leave(self) -> None:
        """Ends the job at its next step or report; a stage that waits for its thread is not begun."""
        self.gone = True
        if self.pending:
            self.pending.cancel()

    def settle(self, error: BaseException | None = None) -> None:
        """Ends denoising, with an error or without."""
        if not self.denoised.done():
            self.denoised.set_exception(error) if error else self.denoised.set_result(None)

    def forget(self) -> None:
        """Drops what may be large, and the error whose traceback refers to this job."""
        self.rows, self.pending = (), None
        del self.denoised


class StepLoop(Generic[RequestT, RowT, MediaT]):
    """The engine's thread, and the jobs whose steps it runs in turn."""

    def __init__(self, stepper: Stepper[RequestT, RowT, MediaT]) -> None:
        self._stepper = stepper
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="engine-beside")
        # Jobs that denoise, the next in turn first.
        self._turns: deque[_Job[RequestT, RowT]] = deque()
        self._jobs: set[_Job[RequestT, RowT]] = set()
        self._stepping: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def idle(self) -> bool:
        """Whether no job is on its way."""
        return not self._jobs

    def use_one_thread(self) -> None:
        """Runs everything in the engine's thread, for pipelines whose parts cannot run at the same time."""
        if self._beside is not self._thread:
            self._beside.shutdown(wait=False)
            self._beside = self._thread

    async def call(self, function: Callable[[], ResultT]) -> ResultT:
        """Runs a function in the engine's thread, between two steps. Cancelling waits for its end."""
        return await ended(self._run(self._thread, function))

    async def run(self, request: RequestT) -> AsyncGenerator[Step | MediaT, None]:
        """Yields the progress of a job, and the media of each of its rows in order.

        Closing the iterator ends the job at its next step or report, and returns only when it has ended, so that what
        it used is never given to two jobs. Raises what the stepper raises.
        """
        job: _Job[RequestT, RowT] = _Job(request)
        self._jobs.add(job)
        carrying = asyncio.ensure_future(self._carry(job))
        put = job.events.put_nowait
        carrying.add_done_callback(lambda _: put(None))
        try:
            while (event := await job.events.get()) is not None:
                yield event
            carrying.result()
        finally:
            job.leave()
            try:
                with contextlib.suppress(Exception):  # raised above already, unless no caller is left
                    await ended(carrying)
            finally:
                self._jobs.discard(job)
                job.forget()
                # An error that is raised refers to this frame: it would keep itself, and the rows, until a collection.
                del job, carrying

    async def close(self) -> None:
        """Frees the threads. Jobs that still run end at their next step or report, with Cancelled."""
        self._closed = True
        for job in self._jobs:
            job.leave()
        for thread in {self._thread, self._beside}:
            thread.shutdown(wait=False)

    async def _carry(self, job: _Job[RequestT, RowT]) -> None:
        """Takes a job through its three stages."""
        job.rows = await self._stage(job, partial(self._stepper.begin, job.request, job.report))
        self._turns.append(job)
        if self._stepping is None:
            self._stepping = asyncio.ensure_future(self._step_in_turn())
        await job.denoised
        for row in job.rows:
            job.events.put_nowait(await self._stage(job, partial(self._stepper.finish, row, job.report)))

    async def _stage(self, job: _Job[RequestT, RowT], function: Callable[[], ResultT]) -> ResultT:
        job.check()
        job.pending = pending = self._submit(self._beside, function)
        try:
            return await asyncio.wrap_future(pending)
        except asyncio.CancelledError:
            job.check()
            raise

    async def _step_in_turn(self) -> None:
        """Gives the jobs one step each in turn, until none is left."""
        try:
            while self._turns:
                job = self._turns.popleft()
                try:
                    await self._step(job)
                except BaseException as error:  # whatever it is, the other jobs go on
                    job.settle(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
                    del error
                del job
        finally:
            self._stepping = None

    async def _step(self, job: _Job[RequestT, RowT]) -> None:
        """One step of the rows of a job that can share it with the first of them, if it has steps left."""
        job.check()
        waiting = [row for row in job.rows if row.done < row.total]
        if not waiting:
            job.settle()
            return
        key = self._stepper.key(waiting[0])
        together = [row for row in waiting if self._stepper.key(row) == key]
        await self._run(self._thread, partial(self._stepper.step, together))
        steps = max(row.total for row in job.rows)
        job.events.put_nowait(Step(Phase.DENOISING, min(row.done for row in job.rows), steps))
        self._turns.append(job)

    def _run(self, thread: ThreadPoolExecutor, function: Callable[[], ResultT]) -> "asyncio.Future[ResultT]":
        return asyncio.wrap_future(self._submit(thread, function))

    def _submit(self, thread: ThreadPoolExecutor, function: Callable[[], ResultT]) -> "Future[ResultT]":
        if self._closed:
            raise EngineFailed("the engine is closed")
        return thread.submit(carried, function)
