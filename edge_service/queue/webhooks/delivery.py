"""Sends callbacks from the outbox: each at least once, with backoff, a job's in order, until taken or given up.

A replica takes a callback by moving its next try beyond the time that sending may last. One that dies loses nothing:
the next try comes, with the same event id. Replicas look for callbacks when they are notified of one, when the next try
of one is due, and now and then, for a notification may be lost.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from atelier.contracts.errors import DatabaseUnavailable
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.adapters.database import Database, Row, fetch_value
from edge_service.adapters.http_client import Answer, GuardedHttpClient, RequestFailed
from edge_service.adapters.notifications import CALLBACKS, Notifications
from edge_service.queue.webhooks import payload
from shared.telemetry import WEBHOOKS

log = logging.getLogger(__name__)

# The longest time between two looks, and that after a failed one.
MAX_WAIT_SECONDS, RETRY_SECONDS = 30.0, 1.0
# How many are sent at once; a slow receiver, or a user with many of them, delays no others.
MAX_CONCURRENT, MAX_PER_HOST, MAX_PER_OWNER = 32, 2, 4
# An owner whose receiver took so long to answer, whatever it said then, has one at once for a while.
SLOW_SECONDS, SLOW_FOR_SECONDS = 4.0, 600.0
# All such owners together never have more than this share of the places: however many they are, the others have theirs.
MAX_SHARE_OF_SLOW = 0.5
# More than a request may last, with the database's answer before and after it.
LEASE_SECONDS = 30.0
BACKOFF_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
JITTER = 0.2
MAX_RETRY_AFTER_SECONDS = 3600.0
GIVE_UP_SECONDS = 24 * 3600.0
# What is under way when the edge stops may end within this time.
CLOSE_SECONDS = 5.0
GONE = 410
LOGGED = {
    "delivered": "callback delivered",
    "retried": "callback not delivered, to be sent again",
    "given_up": "callback given up",
}

TAKE = """
WITH due AS (
    SELECT job_id, number FROM outbox
    WHERE state = 'pending' AND next_try <= now() AND host <> ALL(%(hosts)s) AND owner <> ALL(%(owners)s)
    AND NOT EXISTS (
        SELECT FROM outbox AS earlier WHERE earlier.job_id = outbox.job_id AND earlier.number < outbox.number
        AND earlier.state = 'pending')
    ORDER BY next_try LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE outbox SET tries = tries + 1, next_try = now() + %(lease)s * interval '1 second' FROM due, jobs
WHERE outbox.job_id = due.job_id AND outbox.number = due.number AND jobs.id = due.job_id
RETURNING outbox.*, jobs.worker_type, jobs.worker_id, jobs.webhook_url, jobs.callback, jobs.error AS job_error"""
# The receiver has it, also if another replica has taken the row over since.
DELIVERED = """
UPDATE outbox SET state = 'delivered', error = NULL
WHERE job_id = %(job_id)s AND number = %(number)s AND state = 'pending'"""
# Only by the replica that took it last: another may be sending it just now.
NOT_DELIVERED = """
UPDATE outbox SET error = %(error)s, next_try = now() + %(delay)s * interval '1 second', state = CASE
    WHEN %(gone)s OR now() + %(delay)s * interval '1 second' > created + %(limit)s * interval '1 second' THEN 'given_up'
    ELSE 'pending' END
WHERE job_id = %(job_id)s AND number = %(number)s AND state = 'pending' AND tries = %(tries)s RETURNING state"""


NEXT = (
    "SELECT extract(epoch FROM min(next_try) - now())::float8 FROM outbox WHERE state = 'pending' AND next_try > now()"
)


class Webhooks:
    """Sends what is in the outbox."""

    def __init__(
        self, database: Database, notifications: Notifications, outgoing: GuardedHttpClient, urls: AssetUrls
    ) -> None:
        self._database, self._notifications, self._outgoing, self._urls = database, notifications, outgoing, urls
        self._secret = b""
        self._due = asyncio.Event()
        self._sending: dict[asyncio.Task[None], Row] = {}
        self._slow: dict[str, float] = {}  # owner -> until when, on the monotonic clock
        self._loop: asyncio.Task[None] | None = None

    def start(self, secret: bytes) -> None:
        """Begins to send. `secret` is what the secrets of all owners are derived from."""
        self._secret = secret
        self._loop = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Takes nothing more and waits a little for what is under way; the rest is sent again by another replica."""
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._sending:
            await asyncio.wait(self._sending, timeout=CLOSE_SECONDS)
        late = list(self._sending)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self._notifications.notify(CALLBACKS, "")  # another replica goes on, with what waited for these too

    async def _run(self) -> None:
        with self._notifications.event(CALLBACKS, "") as self._due:
            while True:
                self._due.clear()
                # Asked before any is taken: what becomes due meanwhile is not missed.
                begun, seconds = time.monotonic(), RETRY_SECONDS
                try:
                    seconds = await self._seconds_to_next()
                    await self._take_all()
                except DatabaseUnavailable:
                    log.warning("cannot look for callbacks to send: the database cannot be reached")
                except Exception:
                    log.exception("cannot look for callbacks to send")
                # Not wait_for: that one forgets a cancellation that comes together with a notification.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(begun + seconds - time.monotonic()):
                        await self._due.wait()

    async def _seconds_to_next(self) -> float:
        """Seconds until the next try of a callback that is not due yet, at most MAX_WAIT_SECONDS."""
        async with self._database.connection() as connection:
            seconds: float | None = await fetch_value(connection, NEXT, None)
        return MAX_WAIT_SECONDS if seconds is None else min(seconds, MAX_WAIT_SECONDS)

    async def _take_all(self) -> None:
        while len(self._sending) < MAX_CONCURRENT and (row := await self._take()):
            task = asyncio.create_task(self._send(row))
            self._sending[task] = row
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self._due.set()

    async def _take(self) -> Row | None:
        """One of an owner who has none under way, or else one of any who has not too many."""
        values = {"hosts": _busy((row["host"] for row in self._sending.values()), MAX_PER_HOST), "lease": LEASE_SECONDS}
        under_way = Counter(row["owner"] for row in self._sending.values())
        full = [owner for owner, count in under_way.items() if count >= self._most_of(owner)]
        slow = [owner for owner in self._slow if self._is_slow(owner)]
        shut = slow if sum(under_way[owner] for owner in slow) >= MAX_CONCURRENT * MAX_SHARE_OF_SLOW else []
        async with self._database.connection() as connection:
            for owners in (list(under_way), full) if under_way else (full,):
                taken = await connection.execute(TAKE, {**values, "owners": owners + shut})
                if (row := await taken.fetchone()) is not None:
                    return row
        return None

    def _most_of(self, owner: str) -> int:
        return 1 if self._is_slow(owner) else MAX_PER_OWNER

    def _is_slow(self, owner: str) -> bool:
        return self._slow.get(owner, 0.0) > time.monotonic()

    def _waited(self, owner: str, seconds: float) -> None:
        """Notes whose receiver was slow. That it was quick since changes nothing: the owner may have others."""
        now = time.monotonic()
        self._slow = {known: until for known, until in self._slow.items() if until > now}
        if seconds >= SLOW_SECONDS:
            self._slow[owner] = now + SLOW_FOR_SECONDS

    async def _send(self, row: Row) -> None:
        try:
            answer = await self._post(row)
            problem, retry_after = problem_of(answer.status), answer.retry_after
        except RequestFailed as unanswered:
            answer, problem, retry_after = None, unanswered.why, ""
        except Exception:
            log.exception("a callback could not be sent", extra={"job_id": row["job_id"]})
            answer, problem, retry_after = None, "internal error", ""
        try:
            outcome = await self._record(row, answer, problem, retry_after)
        except DatabaseUnavailable:
            # It stays taken for a while, and then it is sent again.
            log.warning("the database cannot be told of a callback", extra={"job_id": row["job_id"]})
            return
        WEBHOOKS.labels(outcome).inc()
        told = {"job_id": row["job_id"], "number": row["number"], "tries": row["tries"]}
        log.info(LOGGED[outcome], extra={**told, "problem": problem} if problem else told)

    async def _post(self, row: Row) -> Answer:
        content = await payload.body(row, self._urls)
        secret = payload.secret_of(self._secret, row["owner"])
        headers = payload.headers(row, content, secret, int(time.time()))
        begun = time.monotonic()
        try:
            return await self._outgoing.post(row["webhook_url"], headers, content)
        finally:
            self._waited(row["owner"], time.monotonic() - begun)

    async def _record(self, row: Row, answer: Answer | None, problem: str, retry_after: str) -> str:
        """Records how a try ended, and says so in a word."""
        key = {"job_id": row["job_id"], "number": row["number"]}
        async with self._database.connection() as connection:
            if not problem:
                await connection.execute(DELIVERED, key)
                return "delivered"
            values = {
                **key, "tries": row["tries"], "error": problem, "delay": delay_seconds(row["tries"], retry_after),
                "gone": answer is not None and answer.status == GONE, "limit": GIVE_UP_SECONDS,
            }  # fmt: skip
            kept = await (await connection.execute(NOT_DELIVERED, values)).fetchone()
        return "given_up" if kept and kept["state"] == "given_up" else "retried"


def problem_of(status: int) -> str:
    """What is wrong with an answer; empty if the callback was taken."""
    if 200 <= status < 300:
        return ""
    return f"HTTP {status}, a redirect, which is not followed" if 300 <= status < 400 else f"HTTP {status}"


def delay_seconds(tries: int, retry_after: str) -> float:
    """Seconds until the next try after this many: longer each time, and never before the receiver wants it."""
    usual = BACKOFF_SECONDS[min(tries, len(BACKOFF_SECONDS)) - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(usual, min(_wanted_seconds(retry_after), MAX_RETRY_AFTER_SECONDS))


def _wanted_seconds(retry_after: str) -> float:
    """Retry-After is a number of seconds or a date; what is neither counts for nothing."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0


def _busy(names: Iterable[str], most: int) -> list[str]:
    return [name for name, count in Counter(names).items() if count >= most]
