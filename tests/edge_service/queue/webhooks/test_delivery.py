import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from prometheus_client import REGISTRY

from atelier.contracts.errors import EngineFailed
from atelier.contracts.json_form import from_spec_json
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.webhooks import verify
from edge_service.adapters import http_client as outgoing_module
from edge_service.adapters.asset_urls import AssetUrls
from edge_service.adapters.database import Database
from edge_service.adapters.http_client import GuardedHttpClient
from edge_service.adapters.notifications import CALLBACKS, Notifications
from edge_service.adapters.url_guard import UrlGuard
from edge_service.queue.rows import AssetRow, Lease
from edge_service.queue.webhooks import delivery as webhooks_module
from edge_service.queue.webhooks.delivery import Webhooks, delay_seconds, problem_of
from edge_service.queue.webhooks.payload import secret_of
from shared.assets import AssetStore
from tests.kit.job_tables import Jobs, plan
from tests.kit.receiver import Receiver, receiving, until

HOUSE = b"the secret of the house"
LOOPBACK = "127.0.0.0/8"


class Replica:
    """What one edge replica sends with."""

    def __init__(
        self, database: Database, assets: AssetStore, notifications: Notifications, allowed: str = LOOPBACK
    ) -> None:
        self.outgoing = GuardedHttpClient(UrlGuard(allowed))
        self.urls = AssetUrls("http://atelier.example", assets)
        self.urls.secret = b"of asset urls"
        self.webhooks = Webhooks(database, notifications, self.outgoing, self.urls)

    def start(self) -> "Replica":
        self.webhooks.start(HOUSE)
        return self

    async def close(self) -> None:
        await self.webhooks.close()
        await self.outgoing.close()


@pytest.fixture
async def replicas(database: Database, assets: AssetStore, jobs: Jobs) -> AsyncIterator[list[Replica]]:
    """Two replicas that have not been started. What one of them is notified of, the other is too."""
    made = [Replica(database, assets, jobs.notifications) for _ in range(2)]
    yield made
    for replica in made:
        await replica.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def started(jobs: Jobs, url: str, owner: str = "ann", on_start: bool = False) -> Lease:
    """A job with a webhook that a worker has begun."""
    await jobs.submit(owner, plan(webhook=edge_pb2.Webhook(url=url, on_start=on_start)))
    [lease] = await jobs.lease()
    last = await jobs.leases.record(lease, lease.last_sequence, [])
    assert last is not None
    return replace(lease, last_sequence=last)


async def completed(jobs: Jobs, url: str, owner: str = "ann", assets: Sequence[AssetRow] = ()) -> str:
    """A job with a webhook that has completed: its callback is due."""
    lease = await started(jobs, url, owner)
    assert await jobs.complete(lease, assets)
    return lease.job_id


async def row(jobs: Jobs, job_id: str, number: int = 2) -> dict[str, Any]:
    query = (
        "SELECT *, extract(epoch FROM next_try - now())::float AS wait FROM outbox WHERE job_id = %s AND number = %s"
    )
    [found] = await jobs.execute(query, job_id, number)
    return found


async def states(jobs: Jobs) -> list[object]:
    return [found["state"] for found in await jobs.execute("SELECT state FROM outbox ORDER BY created, number")]


async def settled(jobs: Jobs, job_id: str, number: int = 2, tries: int = 1) -> dict[str, Any]:
    """The row once this many tries have ended."""
    async with asyncio.timeout(20):
        while True:
            found = await row(jobs, job_id, number)
            if found["tries"] >= tries and (found["state"] != "pending" or found["error"]):
                return found
            await asyncio.sleep(0.02)


async def due_now(jobs: Jobs, job_id: str, number: int = 2) -> None:
    """Lets the time until the next try pass, and says so."""
    await jobs.execute(
        "UPDATE outbox SET next_try = now(), error = NULL WHERE job_id = %s AND number = %s", job_id, number
    )
    jobs.notifications.notify(CALLBACKS, "")


def events(receiver: Receiver) -> list[str]:
    return [received.headers["atelier-event-id"] for received in receiver.received]


def statuses(receiver: Receiver) -> list[str]:
    return [json.loads(received.body)["status"] for received in receiver.received]


async def test_a_completed_job_is_told_with_the_callback_of_its_worker(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver
):
    lease = await started(jobs, receiver.url)
    key = f"ann/{lease.job_id}/image_0.png"
    made = sdxl_pb2.SdxlAsset(type=job_pb2.ASSET_TYPE_IMAGE, key=key)
    made.metadata.seed = 0
    callback = sdxl_pb2.SdxlCallback(
        job_id=lease.job_id, worker_id="sdxl_worker_001", status=job_pb2.JOB_STATUS_COMPLETED, assets=[made]
    )
    await jobs.execute(
        "UPDATE jobs SET status = 'completed', ended = now(), lease_expires = NULL, callback = %s WHERE id = %s",
        callback.SerializeToString(), lease.job_id,
    )  # fmt: skip
    await jobs.execute(
        "INSERT INTO outbox (job_id, number, owner, status) VALUES (%s, 2, 'ann', 'completed')", lease.job_id
    )
    replicas[0].start()
    assert (await settled(jobs, lease.job_id))["state"] == "delivered"
    told = from_spec_json(sdxl_pb2.SdxlCallback, receiver.received[0].body)
    url = told.assets[0].url
    told.assets[0].url = ""
    assert told == callback
    path, _, query = url.partition("?")
    assert path == f"http://atelier.example/user-library/{key}"
    fields = dict(part.split("=") for part in query.split("&"))
    assert replicas[0].urls.is_valid(key, fields["expires"], fields["signature"])


async def test_what_is_sent_says_what_it_is_and_who_sent_it(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    await settled(jobs, job_id)
    [received] = receiver.received
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("Atelier/")
    event = verify(received.body, received.headers, secret_of(HOUSE, "ann"))
    assert event.id == f"{job_id}.2"
    assert event.callback["job_id"] == job_id
    assert abs(event.sent - time.time()) < 60


async def test_every_owner_has_a_secret_of_his_own():
    assert secret_of(HOUSE, "ann") != secret_of(HOUSE, "bob") != secret_of(b"another house", "bob")
    assert len(bytes.fromhex(secret_of(HOUSE, "ann"))) == 32


@pytest.mark.parametrize("end", ["failed", "cancelled", "expired"])
async def test_a_job_without_a_result_is_told_with_the_reason(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, end: str
):
    lease = await started(jobs, receiver.url)
    if end == "cancelled":
        await jobs.store.cancel("ann", lease.job_id)
    else:
        error = job_pb2.JobError(reason=job_pb2.ERROR_REASON_ENGINE_FAILED, message=EngineFailed("it broke").message)
        await jobs.execute(
            "UPDATE jobs SET status = %s, ended = now(), lease_expires = NULL, error = %s WHERE id = %s",
            end, error.SerializeToString(), lease.job_id,
        )  # fmt: skip
        await jobs.execute(
            "INSERT INTO outbox (job_id, number, owner, status) VALUES (%s, 2, 'ann', %s)", lease.job_id, end
        )
    replicas[0].start()
    await settled(jobs, lease.job_id)
    told = json.loads(receiver.received[0].body)
    assert (told["job_id"], told["status"], told["worker_id"]) == (lease.job_id, end, "sdxl_worker_001")
    assert told["error"]["message"]
    assert from_spec_json(sdxl_pb2.SdxlCallback, receiver.received[0].body).error.reason


async def test_an_answer_is_told_with_its_text(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    job_id = await completed(jobs, receiver.url)
    told = chat_pb2.ChatCallback(job_id=job_id, status=job_pb2.JOB_STATUS_COMPLETED)
    told.assets.add(type=job_pb2.ASSET_TYPE_TEXT, content="Because of Rayleigh’s scattering.")
    await jobs.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
    await jobs.execute("UPDATE jobs SET worker_type = 'chat', callback = %s", told.SerializeToString())
    replicas[0].start()
    await settled(jobs, job_id)
    assert from_spec_json(chat_pb2.ChatCallback, receiver.received[0].body) == told


async def test_the_end_is_told_after_the_start(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    receiver.statuses = [503, 200]
    lease = await started(jobs, receiver.url, on_start=True)
    assert await jobs.complete(lease)
    replicas[0].start()
    replicas[1].start()
    first = await settled(jobs, lease.job_id, 1)
    assert (first["state"], first["tries"], first["error"]) == ("pending", 1, "HTTP 503")
    await asyncio.sleep(0.3)
    assert (await row(jobs, lease.job_id))["tries"] == 0
    await due_now(jobs, lease.job_id, 1)
    await until(lambda: len(receiver.received) == 3)
    assert events(receiver) == [f"{lease.job_id}.1", f"{lease.job_id}.1", f"{lease.job_id}.2"]
    assert statuses(receiver) == ["processing", "processing", "completed"]


async def test_the_end_is_told_even_if_the_start_never_was(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    receiver.statuses = [410, 200]
    lease = await started(jobs, receiver.url, on_start=True)
    assert await jobs.complete(lease)
    replicas[0].start()
    assert (await settled(jobs, lease.job_id))["state"] == "delivered"
    assert await states(jobs) == ["given_up", "delivered"]


async def test_what_was_not_taken_is_sent_again_with_the_same_id(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver
):
    receiver.statuses = [500, 200]
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    first = await settled(jobs, job_id)
    assert (first["state"], first["error"]) == ("pending", "HTTP 500")
    assert 0 < first["wait"] <= 6
    await due_now(jobs, job_id)
    second = await settled(jobs, job_id, tries=2)
    assert (second["state"], second["error"]) == ("delivered", None)
    assert events(receiver) == [f"{job_id}.2"] * 2
    for received in receiver.received:
        verify(received.body, received.headers, secret_of(HOUSE, "ann"))


def test_the_tries_come_less_and_less_often():
    for tries, usual in ((1, 5), (2, 30), (3, 120), (4, 600), (5, 1800), (6, 3600), (7, 3600), (40, 3600)):
        delays = {delay_seconds(tries, "") for _ in range(100)}
        assert usual * 0.8 <= min(delays) < max(delays) <= usual * 1.2


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [("120", 120, 120), ("3600", 3600, 3600), ("999999999999", 3600, 3600), ("1", 4, 6), ("-5", 4, 6), ("", 4, 6),
     ("soon", 4, 6), ("1e9", 4, 6), ("Sun, 06 Nov 1994 08:49:37 GMT", 4, 6), ("Mon, 99 Foo 2099", 4, 6),
     ("Fri, 31 Dec 9999 23:59:59 GMT", 3600, 3600)],
)  # fmt: skip
def test_a_receiver_may_ask_for_more_time_but_not_for_more_than_an_hour(retry_after: str, least: float, most: float):
    assert least <= delay_seconds(1, retry_after) <= most


def test_a_receiver_may_name_the_time_of_the_next_try():
    assert 590 < delay_seconds(1, formatdate(time.time() + 600, usegmt=True)) <= 600


async def test_the_time_that_a_receiver_asks_for_is_kept(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    receiver.statuses, receiver.headers = [429], {"retry-after": "1000"}
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    assert 990 < (await settled(jobs, job_id))["wait"] <= 1000


async def test_a_receiver_that_is_gone_is_asked_once(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    receiver.statuses = [410]
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    found = await settled(jobs, job_id)
    assert (found["state"], found["tries"], found["error"]) == ("given_up", 1, "HTTP 410")


async def test_it_is_given_up_after_a_day(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    receiver.statuses = [500]
    younger, older = [await completed(jobs, receiver.url) for _ in range(2)]
    for job_id, age in ((younger, "22 hours"), (older, "24 hours")):
        await jobs.execute(
            "UPDATE outbox SET tries = 20, created = now() - %s::interval WHERE job_id = %s", age, job_id
        )
    replicas[0].start()
    found = await settled(jobs, older, tries=21)
    assert (found["state"], found["error"], found["tries"]) == ("given_up", "HTTP 500", 21)
    assert (await settled(jobs, younger, tries=21))["state"] == "pending"


async def test_a_redirect_is_a_failure_that_says_so(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    async with receiving() as inside:
        receiver.statuses, receiver.headers = [302], {"location": inside.url}
        job_id = await completed(jobs, receiver.url)
        replicas[0].start()
        assert (await settled(jobs, job_id))["error"] == "HTTP 302, a redirect, which is not followed"
        assert inside.received == []


@pytest.mark.parametrize(("status", "taken"), [(200, True), (204, True), (299, True), (304, False), (404, False)])
def test_only_2xx_takes_a_callback(status: int, taken: bool):
    assert (problem_of(status) == "") is taken


async def test_an_address_that_is_not_allowed_is_not_connected_to(
    jobs: Jobs, database: Database, assets: AssetStore, receiver: Receiver
):
    job_id = await completed(jobs, receiver.url)
    replica = Replica(database, assets, jobs.notifications, allowed="").start()
    assert (await settled(jobs, job_id))["error"] == "address not allowed"
    await replica.close()
    assert receiver.received == []


async def test_a_receiver_that_hangs_times_out(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outgoing_module, "TOTAL_SECONDS", 0.5)
    receiver.open.clear()
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    assert (await settled(jobs, job_id))["error"] == "timed out"


async def test_a_receiver_that_hangs_delays_nobody_else(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outgoing_module, "TOTAL_SECONDS", 60.0)
    async with receiving() as hanging:
        hanging.open.clear()
        slow = [await completed(jobs, hanging.url, owner="bob") for _ in range(5)]
        quick = [await completed(jobs, receiver.url) for _ in range(3)]
        replicas[0].start()
        for job_id in quick:
            assert (await settled(jobs, job_id))["state"] == "delivered"
        await until(lambda: len(hanging.received) == webhooks_module.MAX_PER_HOST)
        tries = [(await row(jobs, job_id))["tries"] for job_id in slow]
        assert sum(tries) == webhooks_module.MAX_PER_HOST


async def test_who_has_none_under_way_goes_before_who_has(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(webhooks_module, "MAX_CONCURRENT", 2)
    receiver.open.clear()
    async with receiving("127.0.0.1:0") as quick:
        for number in range(4):
            job_id = await completed(jobs, receiver.url)
            await jobs.execute("UPDATE outbox SET host = %s WHERE job_id = %s", str(number), job_id)
        job_id = await completed(jobs, quick.url, owner="bob")
        replicas[0].start()
        assert (await settled(jobs, job_id))["state"] == "delivered"
        receiver.open.set()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.com/a?b", "example.com"),
        ("http://example.com:8080/a", "example.com"),
        ("http://[2001:db8::1]:81/", "[2001:db8::1]"),
    ],
)
async def test_a_receiver_is_the_same_host_on_every_port(jobs: Jobs, url: str, host: str):
    assert await jobs.execute("SELECT host_of(%s) AS host", url) == [{"host": host}]


async def test_an_owner_with_many_slow_receivers_delays_nobody_else(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver
):
    receiver.open.clear()
    port = receiver.address.rpartition(":")[2]
    async with receiving("127.0.0.1:0") as quick:
        for number in range(6):  # each a host of its own as far as one can see
            job_id = await completed(jobs, receiver.url)
            await jobs.execute("UPDATE outbox SET host = %s WHERE job_id = %s", f"{number}:{port}", job_id)
        job_id = await completed(jobs, quick.url, owner="bob")
        replicas[0].start()
        assert (await settled(jobs, job_id))["state"] == "delivered"
        await until(lambda: len(receiver.received) == webhooks_module.MAX_PER_OWNER)
        receiver.open.set()
        await until(lambda: len(receiver.received) == 6)


async def test_an_owner_whose_receiver_was_slow_has_one_place_for_a_while(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outgoing_module, "TOTAL_SECONDS", 0.5)
    monkeypatch.setattr(webhooks_module, "SLOW_SECONDS", 0.4)
    receiver.open.clear()
    slow = await completed(jobs, receiver.url)
    replicas[0].start()
    assert (await settled(jobs, slow))["error"] == "timed out"
    monkeypatch.setattr(outgoing_module, "TOTAL_SECONDS", 60.0)
    async with receiving() as hanging, receiving("127.0.0.1:0") as other:
        hanging.open.clear()
        for number in range(4):
            job_id = await completed(jobs, hanging.url)
            await jobs.execute("UPDATE outbox SET host = %s WHERE job_id = %s", str(number), job_id)
        await until(lambda: bool(hanging.received))
        job_id = await completed(jobs, other.url, owner="bob")
        assert (await settled(jobs, job_id))["state"] == "delivered"
        for _ in range(3):
            jobs.notifications.notify(CALLBACKS, "")
            await asyncio.sleep(0.1)
        assert len(hanging.received) == 1
        replicas[0].webhooks._slow.clear()  # the while is over
        jobs.notifications.notify(CALLBACKS, "")
        await until(lambda: len(hanging.received) == 4)
        hanging.open.set()
    receiver.open.set()


async def test_as_many_slow_owners_as_there_are_places_leave_some_to_others(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(webhooks_module, "MAX_CONCURRENT", 4)
    monkeypatch.setattr(webhooks_module, "SLOW_SECONDS", 0.4)
    monkeypatch.setattr(outgoing_module, "TOTAL_SECONDS", 0.5)
    receiver.open.clear()
    for number in range(4 * 8):  # each with more to send than there is time for
        job_id = await completed(jobs, receiver.url, owner=f"slow {number % 4}")
        await jobs.execute("UPDATE outbox SET host = %s WHERE job_id = %s", str(number), job_id)
    async with receiving("127.0.0.1:0") as quick:
        replicas[0].start()
        await until(lambda: len(replicas[0].webhooks._slow) == 4)
        monkeypatch.setattr(outgoing_module, "TOTAL_SECONDS", 60.0)
        job_id = await completed(jobs, quick.url, owner="bob")
        assert (await settled(jobs, job_id))["state"] == "delivered"
    receiver.open.set()


async def test_two_replicas_send_each_callback_once(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    ids = [await completed(jobs, receiver.url) for _ in range(20)]
    for replica in replicas:
        replica.start()
    for job_id in ids:
        assert (await settled(jobs, job_id))["tries"] == 1
    assert sorted(events(receiver)) == sorted(f"{job_id}.2" for job_id in ids)


async def test_a_callback_whose_replica_died_is_sent_again_with_the_same_id(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(webhooks_module, "CLOSE_SECONDS", 0.0)
    receiver.open.clear()
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    await until(lambda: len(receiver.received) == 1)
    await replicas[0].close()  # cut off in the middle: it records nothing
    receiver.open.set()
    replicas[1].start()
    await asyncio.sleep(0.3)
    taken = await row(jobs, job_id)
    assert (taken["state"], taken["tries"]) == ("pending", 1)
    assert 20 < taken["wait"] < webhooks_module.LEASE_SECONDS
    await due_now(jobs, job_id)
    assert (await settled(jobs, job_id, tries=2))["state"] == "delivered"
    assert events(receiver) == [f"{job_id}.2"] * 2


async def test_a_replica_that_was_frozen_does_not_call_a_delivered_callback_failed(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver
):
    receiver.statuses = [500, 200]
    receiver.open.clear()
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    await until(lambda: len(receiver.received) == 1)
    await jobs.execute("UPDATE outbox SET tries = tries + 1")  # another replica took it meanwhile
    receiver.open.set()
    await replicas[0].webhooks.close()
    found = await row(jobs, job_id)
    assert (found["state"], found["error"]) == ("pending", None)


async def test_what_is_under_way_ends_when_the_edge_stops(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    receiver.open.clear()
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    await until(lambda: len(receiver.received) == 1)
    closing = asyncio.create_task(replicas[0].webhooks.close())
    await asyncio.sleep(0.05)
    receiver.open.set()
    await closing
    assert (await row(jobs, job_id))["state"] == "delivered"


async def test_one_that_cannot_be_made_is_put_off_like_any_other(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver
):
    broken = await completed(jobs, receiver.url)
    await jobs.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
    await jobs.execute("UPDATE jobs SET callback = 'no message' WHERE id = %s", broken)
    sound = await completed(jobs, receiver.url)
    replicas[0].start()
    assert (await settled(jobs, sound))["state"] == "delivered"
    assert (await settled(jobs, broken))["error"] == "internal error"


async def test_tries_are_counted_by_outcome(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    def counted() -> list[float]:
        words = ("delivered", "retried", "given_up")
        return [REGISTRY.get_sample_value("atelier_webhooks_total", {"outcome": word}) or 0 for word in words]

    before = counted()
    receiver.statuses = [500, 410, 200]
    replicas[0].start()
    for _ in range(3):
        await settled(jobs, await completed(jobs, receiver.url))
        await asyncio.sleep(0.1)
    assert [new - old for new, old in zip(counted(), before, strict=True)] == [1, 1, 1]


async def test_nothing_of_a_url_or_an_answer_is_kept_or_logged(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG", "edge_service")
    receiver.statuses = [500]
    job_id = await completed(jobs, f"{receiver.url}?key=hidden")
    replicas[0].start()
    found = await settled(jobs, job_id)
    assert "hidden" not in str(found)
    assert "an answer that nobody reads" not in str(found)
    assert "hidden" not in str([vars(record) for record in caplog.records])


async def test_the_log_calls_nothing_retried_that_was_tried_once(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "edge_service")
    receiver.statuses = [500, 200, 410]
    job_id = await completed(jobs, receiver.url)
    replicas[0].start()
    await settled(jobs, job_id)
    await due_now(jobs, job_id)
    await settled(jobs, job_id, tries=2)
    await settled(jobs, await completed(jobs, receiver.url))
    await until(lambda: len(logged(caplog)) == 3)
    assert logged(caplog) == [
        ("callback not delivered, to be sent again", "HTTP 500"),
        ("callback delivered", None),
        ("callback given up", "HTTP 410"),
    ]


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str | None]]:
    """What the log says of tries, with the problem if it has that field."""
    told = [record for record in caplog.records if record.getMessage().startswith("callback ")]
    return [(record.getMessage(), vars(record).get("problem")) for record in told]


async def told(jobs: Jobs, job_id: str) -> edge_pb2.WebhookDelivery:
    return (await jobs.store.job("ann", job_id)).webhook


async def test_a_job_says_how_its_delivery_stands(jobs: Jobs, replicas: list[Replica], receiver: Receiver):
    receiver.statuses = [503, 200, 410]
    lease = await started(jobs, receiver.url, on_start=False)
    nothing_yet = edge_pb2.WebhookDelivery(url=receiver.url, state=edge_pb2.WEBHOOK_STATE_PENDING)
    assert await told(jobs, lease.job_id) == nothing_yet
    assert await jobs.complete(lease)
    replicas[0].start()
    await settled(jobs, lease.job_id)
    refused = await told(jobs, lease.job_id)
    assert (refused.state, refused.attempts) == (edge_pb2.WEBHOOK_STATE_PENDING, 1)
    assert refused.last_error == "HTTP 503"
    assert 0 < refused.next_attempt.seconds - time.time() < 10
    await due_now(jobs, lease.job_id)
    await settled(jobs, lease.job_id, tries=2)
    taken = await told(jobs, lease.job_id)
    assert taken == edge_pb2.WebhookDelivery(
        url=receiver.url, state=edge_pb2.WEBHOOK_STATE_DELIVERED, attempts=2, last_error=""
    )
    gone = await completed(jobs, receiver.url)
    await settled(jobs, gone)
    assert (await told(jobs, gone)).state == edge_pb2.WEBHOOK_STATE_GIVEN_UP


async def test_the_delivery_of_a_job_is_that_of_the_callback_being_sent(
    jobs: Jobs, replicas: list[Replica], receiver: Receiver
):
    receiver.statuses = [503]
    lease = await started(jobs, receiver.url, on_start=True)
    assert await jobs.complete(lease)
    replicas[0].start()
    await settled(jobs, lease.job_id, 1)
    assert (await told(jobs, lease.job_id)).last_error == "HTTP 503"
    await replicas[0].webhooks.close()  # so that it does not begin the next one before it is looked at
    await jobs.execute("UPDATE outbox SET state = 'delivered' WHERE number = 1")
    assert (await told(jobs, lease.job_id)).attempts == 0
