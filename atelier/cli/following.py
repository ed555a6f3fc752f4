"""Following one job from the command line: show its events, save what it made, let go of it on Ctrl-C."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from atelier.cli.explaining import notes
from atelier.cli.running import INTERRUPTED
from atelier.cli.screen import Screen
from atelier.client import AsyncClient
from atelier.errors import EdgeUnreachable, job_is_done
from atelier.events import Ended
from atelier.requests import SubmitOptions, Submittable
from atelier.results import Job


class Following:
    """Follows one job. What it made is saved in `out`, or only named where there is none."""

    def __init__(self, screen: Screen, out: Path | None) -> None:
        self._screen, self._out = screen, out
        self._job_id = ""

    async def submit(self, build: Callable[[], Submittable], options: SubmitOptions, edge: str) -> None:
        """Submits the job that `build` returns and follows it to its end. Raises the AtelierError that ended it."""
        await self._begin(AsyncClient.submit, build, options, edge)

    async def make(self, build: Callable[[], Submittable], options: SubmitOptions, edge: str) -> None:
        """As `submit`, after uploading what files of this machine the job names."""
        await self._begin(AsyncClient.make, build, options, edge)

    async def _begin(
        self, submit: Callable[..., Awaitable[Job]], build: Callable[[], Submittable], options: SubmitOptions, edge: str
    ) -> None:
        self._make_folder()
        async with AsyncClient(edge) as client:
            job = await submit(client, build(), **options)
            self._job_id = job.id
            self._screen.say(f"job {self._job_id}", job_id=self._job_id)
            for note in notes(job.message):
                self._screen.note(note)
            await self._follow(client, after=0)

    async def retry(self, job_id: str, edge: str) -> None:
        """Repeats an ended job and follows the new one to its end. Raises the AtelierError that ended it."""
        self._make_folder()
        async with AsyncClient(edge) as client:
            self._job_id = (await client.retry(job_id).submitted()).id
            self._screen.say(f"job {self._job_id} repeats {job_id}", job_id=self._job_id, retry_of=job_id)
            await self._follow(client, after=0)

    async def watch(self, job_id: str, after: int, edge: str) -> None:
        """Follows a job from a sequence number to its end. Raises the AtelierError that ended it."""
        self._make_folder()
        self._job_id = job_id
        async with AsyncClient(edge) as client:
            await self._follow(client, after)

    def let_go(self) -> int:
        """Says how to come back to a job that goes on; returns the exit code."""
        if self._job_id:
            watch, cancel = f"atelier watch {self._job_id}", f"atelier cancel {self._job_id}"
            where = f" --out {self._out}" if self._out else ""
            text = f"the job goes on; follow it with:  {watch}{where}\nor end it with:  {cancel}"
            self._screen.say(text, detached=self._job_id, watch=watch + where, cancel=cancel)
        return INTERRUPTED

    def _make_folder(self) -> None:
        if self._out:
            self._out.mkdir(parents=True, exist_ok=True)  # before a minute of work, not after it

    async def _follow(self, client: AsyncClient, after: int) -> None:
        try:
            async for event in client.watch(self._job_id, after, self._lost):
                self._screen.event(event)
                if isinstance(event, Ended):
                    await self._finish(client, event.job)
        except EdgeUnreachable:
            self.let_go()  # the job does not need us
            raise

    def _lost(self) -> None:
        self._screen.note("connection lost, trying again; the job goes on")

    async def _finish(self, client: AsyncClient, job: Job) -> None:
        if job.error:
            raise job.error
        for asset in job.assets:
            if self._out is None:
                self._screen.say(asset.url or asset.content)
            else:
                with job_is_done(job.id):
                    file = await client.download(asset)
                self._screen.saved(file, file.save(self._out))
