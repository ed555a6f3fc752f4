"""The life of an API key on two replicas of the edge that share one PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import psycopg
import pytest

from atelier.contracts import errors
from atelier.contracts.errors import from_rpc_error
from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.database import Database, Lock
from edge_service.adapters.notifications import Notifications
from edge_service.auth.api_keys import store as keys
from edge_service.auth.api_keys import verifier as key_ring
from shared.server import Server
from tests.journeys.edge.test_intake import policies
from tests.kit.edge import ANN, BOB, OPERATOR, Calls, new_database, started_edge
from tests.kit.logs import everything_logged

DAY = timedelta(days=1)


class Replicas:
    """Two replicas, and callers of each."""

    def __init__(self, servers: list[Server], channels: list[grpc.aio.Channel]) -> None:
        self.servers, self._channels = servers, channels

    def calls(self, token: str, replica: int = 0) -> Calls:
        return Calls(self._channels[replica], token)


@pytest.fixture(scope="module")
async def url(postgres: str) -> str:
    return await new_database(postgres)


@pytest.fixture(scope="module")
async def running(url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    async with contextlib.AsyncExitStack() as stack:
        servers = [await started_edge(url, tmp_path_factory.mktemp("edge")) for _ in range(2)]
        for server in servers:
            stack.push_async_callback(server.stop)
        channels = [await stack.enter_async_context(grpc.aio.insecure_channel(server.address)) for server in servers]
        yield Replicas(servers, channels)


@pytest.fixture(scope="module")
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database()
    await opened.open(url)
    yield opened
    await opened.close()


@pytest.fixture
async def pair(running: Replicas, database: Database) -> Replicas:
    """Two replicas and no key."""
    async with database.connection() as connection:
        await connection.execute("DELETE FROM api_keys")
    return running


async def create(calls: Calls, lifetime: timedelta | None = None, **fields: object) -> edge_pb2.CreateKeyResponse:
    request = edge_pb2.CreateKeyRequest(**{"name": "a key", **fields})  # type: ignore[arg-type]
    if lifetime:
        request.lifetime.FromTimedelta(lifetime)
    return await calls.account.CreateKey(request, metadata=calls.metadata)


async def revoke(calls: Calls, key_id: str) -> edge_pb2.ApiKey:
    return (await calls.account.RevokeKey(edge_pb2.RevokeKeyRequest(key_id=key_id), metadata=calls.metadata)).key


async def listed(calls: Calls, user_id: str = "") -> list[edge_pb2.ApiKey]:
    return list((await calls.account.ListKeys(edge_pb2.ListKeysRequest(user_id=user_id), metadata=calls.metadata)).keys)


async def is_let_in(calls: Calls) -> bool:
    """Whether the token is taken. Raises what is neither yes nor no."""
    try:
        await calls.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=calls.metadata)
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:
            raise
        return False
    return True


@contextlib.contextmanager
def refused(kind: type[errors.AtelierError], says: str | None = None):
    with pytest.raises(grpc.aio.AioRpcError, match=says) as raised:
        yield
    assert type(from_rpc_error(raised.value)) is kind


async def test_a_key_is_its_owner_on_every_replica_until_it_is_revoked(replicas: Replicas):
    ann = replicas.calls(ANN)
    job = await ann.submit(sdxl={"type": "sdxl_image_fast", "prompt": "a fox"})
    made = await create(ann, name="nightly")
    assert made.secret.startswith(f"{made.key.id}_")
    assert (made.key.user_id, made.key.tier, made.key.name) == ("ann", "premium", "nightly")
    assert list(made.key.scopes) == ["assets.read", "assets.write", "chat", "jobs.read", "jobs.write"]
    holders = [replicas.calls(made.secret, replica) for replica in (0, 1)]
    for holder in holders:
        assert (await holder.get(job.id)).user_id == "ann"
    revoked = await revoke(ann, made.key.id)
    assert revoked.HasField("revoked")
    assert not await is_let_in(holders[0])
    async with asyncio.timeout(2):  # by its message: what is remembered would hold for longer
        while await is_let_in(holders[1]):
            await asyncio.sleep(0.01)
    assert (await revoke(ann, made.key.id)).revoked == revoked.revoked


async def test_a_revocation_whose_message_is_lost_holds_within_seconds(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    assert key_ring.TRUST_SECONDS <= 5
    monkeypatch.setattr(key_ring, "TRUST_SECONDS", 0.5)
    monkeypatch.setattr(Notifications, "notify", lambda *_: None)
    made = await create(replicas.calls(ANN))
    holder = replicas.calls(made.secret, 1)
    assert await is_let_in(holder)
    await revoke(replicas.calls(ANN), made.key.id)
    assert await is_let_in(holder)  # remembered: nobody told it
    async with asyncio.timeout(3):
        while await is_let_in(holder):
            await asyncio.sleep(0.05)


async def test_a_known_key_costs_no_question_and_a_guessed_one_neither(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    made, asked = await create(replicas.calls(ANN)), []
    find = keys.ApiKeyStore.find

    async def counted(self, key_id: str):
        asked.append(key_id)
        return await find(self, key_id)

    monkeypatch.setattr(keys.ApiKeyStore, "find", counted)
    await asyncio.gather(*(is_let_in(replicas.calls(made.secret)) for _ in range(50)))
    assert asked == [made.key.id]  # fifty at once, and one question
    guesses = [
        f"{made.key.id}_{'x' * 43}",
        *(f"atl_{'a' * 12}{n:04x}_{'x' * 43}" for n in range(50)),
        "atl_",
        "atl_x_y",
    ]
    for guess in guesses:
        assert not await is_let_in(replicas.calls(guess))
    assert asked == [made.key.id]


async def test_a_key_that_is_no_more_is_looked_for_once(
    replicas: Replicas, database: Database, monkeypatch: pytest.MonkeyPatch
):
    made, asked = await create(replicas.calls(ANN)), []
    async with database.connection() as connection:
        await connection.execute("DELETE FROM api_keys")
    find = keys.ApiKeyStore.find

    async def counted(self, key_id: str):
        asked.append(key_id)
        return await find(self, key_id)

    monkeypatch.setattr(keys.ApiKeyStore, "find", counted)
    for _ in range(3):
        assert not await is_let_in(replicas.calls(made.secret))
    assert len(asked) == 1


async def test_while_the_database_is_away_known_keys_work_and_others_are_told_to_come_back(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    known, other = await create(replicas.calls(ANN)), await create(replicas.calls(ANN))
    assert await is_let_in(replicas.calls(known.secret))

    async def away(self, key_id: str):
        raise errors.DatabaseUnavailable("the database cannot be reached; nothing was changed")

    monkeypatch.setattr(keys.ApiKeyStore, "find", away)
    assert await is_let_in(replicas.calls(known.secret))
    with refused(errors.DatabaseUnavailable):
        await is_let_in(replicas.calls(other.secret))
    monkeypatch.undo()
    assert await is_let_in(replicas.calls(other.secret))


async def test_only_a_digest_is_stored(replicas: Replicas, database: Database):
    made = await create(replicas.calls(ANN))
    random = made.secret.removeprefix(f"{made.key.id}_")
    async with database.connection() as connection:
        [row] = await (await connection.execute("SELECT api_keys::text AS all FROM api_keys")).fetchall()
    assert made.key.id in row["all"]
    assert random not in row["all"]


async def test_an_expired_key_is_refused_and_told_so(replicas: Replicas, database: Database):
    made = await create(replicas.calls(ANN), lifetime=timedelta(minutes=1))
    async with database.connection() as connection:
        await connection.execute("UPDATE api_keys SET expires = now() - interval '1 second'")
    holder = replicas.calls(made.secret)
    with refused(errors.Unauthenticated, "has expired"):
        await holder.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=holder.metadata)


async def test_a_key_reaches_what_its_scopes_cover_and_is_told_what_it_lacks(replicas: Replicas):
    reader = replicas.calls((await create(replicas.calls(ANN), scopes=["jobs.read"])).secret)
    with refused(errors.JobNotFound):
        await reader.get("sdxl_image_fast_1_aaaaaa")
    for call, scope in (
        (reader.submit(sdxl={}), "jobs.write"),  # nothing of it is valid, and that is not what is told
        (reader.assets.ListAssets(edge_pb2.ListAssetsRequest(), metadata=reader.metadata), "assets.read"),
        (listed(reader), "account"),
        (reader.fleet.ListWorkers(edge_pb2.ListWorkersRequest(), metadata=reader.metadata), "fleet.read"),
    ):
        with refused(errors.PermissionDenied, f"needs the scope {scope}"):
            await call


async def test_the_fleet_is_for_operators(replicas: Replicas):
    ann, operator = replicas.calls(ANN), replicas.calls(OPERATOR)
    with refused(errors.PermissionDenied, "fleet.read"):
        await ann.fleet.ListWorkers(edge_pb2.ListWorkersRequest(), metadata=ann.metadata)
    await operator.fleet.ListWorkers(edge_pb2.ListWorkersRequest(), metadata=operator.metadata)
    watcher = replicas.calls((await create(operator, scopes=["fleet.read"])).secret)
    await watcher.fleet.ListWorkers(edge_pb2.ListWorkersRequest(), metadata=watcher.metadata)
    with refused(errors.PermissionDenied, "fleet.write"):
        request = edge_pb2.DrainWorkerRequest()
        await watcher.fleet.DrainWorker(request, metadata=watcher.metadata)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scopes": ["fleet.read"]}, "yours lacks fleet.read"),
        ({"scopes": ["keys"]}, "yours lacks keys"),
        ({"user_id": "bob"}, "user_id: naming another"),
        ({"user_id": "developer"}, "user_id: naming another"),
        ({"tier": "admin"}, "tier: naming another"),
        ({"tier": "guest"}, "tier: naming another"),
    ],
)
async def test_nobody_makes_a_key_that_may_more_than_they(replicas: Replicas, fields: dict[str, object], says: str):
    with refused(errors.PermissionDenied, says):
        await create(replicas.calls(ANN), **fields)


async def test_a_key_makes_no_key_that_may_more_or_lives_longer(replicas: Replicas):
    made = await create(replicas.calls(OPERATOR), lifetime=DAY, scopes=["account", "jobs.read"])
    holder = replicas.calls(made.secret)
    for fields, says in (
        ({"scopes": ["jobs.write"]}, "yours lacks jobs.write"),
        ({"scopes": ["jobs.read", "fleet.read"]}, "yours lacks fleet.read"),
        ({"user_id": "ann"}, "needs the scope keys"),
        ({"tier": "premium"}, "needs the scope keys"),
    ):
        with refused(errors.PermissionDenied, says):
            await create(holder, **fields)  # type: ignore[arg-type]
    with refused(errors.InvalidRequest, "lifetime: must be at most the 86[34]..s"):
        await create(holder, lifetime=2 * DAY)
    with refused(errors.PermissionDenied, "user_id"):
        await listed(holder, "ann")
    child = await create(holder)
    assert list(child.key.scopes) == ["jobs.read"]
    assert child.key.expires.ToDatetime() <= made.key.expires.ToDatetime()
    with refused(errors.PermissionDenied, "account"):
        await create(replicas.calls(child.secret))


async def test_what_a_revoked_key_has_made_is_revoked_with_it(replicas: Replicas):
    ann = replicas.calls(ANN)
    other = await create(ann)
    first = await create(ann, scopes=["account", "jobs.read"])
    second = await create(replicas.calls(first.secret), scopes=["account", "jobs.read"])
    third = await create(replicas.calls(second.secret), scopes=["jobs.read"])
    for made in (first, second, third, other):
        assert await is_let_in(replicas.calls(made.secret))
    await revoke(ann, first.key.id)
    for made in (first, second, third):
        assert not await is_let_in(replicas.calls(made.secret))
    assert await is_let_in(replicas.calls(other.secret))


async def test_who_administers_keys_makes_them_for_others(replicas: Replicas):
    operator = replicas.calls(OPERATOR)
    made = await create(operator, user_id="carol", tier="basic")
    assert (made.key.user_id, made.key.tier) == ("carol", "basic")
    carol = replicas.calls(made.secret)
    job = await carol.submit(sdxl={"type": "sdxl_image_fast", "prompt": "a fox"})
    assert job.user_id == "carol"
    with refused(errors.JobNotFound):
        await operator.get(job.id)
    assert [key.id for key in await listed(operator, "carol")] == [made.key.id]
    with refused(errors.PermissionDenied, "the tier basic has no permission for fleet.read"):
        await create(operator, user_id="carol", tier="basic", scopes=["fleet.read"])
    with refused(errors.InvalidRequest, "tier: must be one of admin, basic, guest, premium, got 'owner'"):
        await create(operator, user_id="carol", tier="owner")
    await revoke(operator, made.key.id)
    assert not await is_let_in(carol)


async def test_who_makes_keys_for_others_gives_none_a_tier_that_may_more(replicas: Replicas, tmp_path: Path):
    ann = replicas.calls(ANN)
    with policies(tmp_path, "tiers", "enhancement, nsfw]", "enhancement, nsfw, keys]"):
        with refused(errors.PermissionDenied, "tier: admin may do what your tier may not: fleet"):
            await create(ann, user_id="carol", tier="admin")
        with refused(errors.PermissionDenied, "tier: admin may do what your tier may not: fleet"):
            await create(ann, tier="admin")
        made = await create(ann, user_id="carol", tier="basic")
    assert (made.key.user_id, made.key.tier) == ("carol", "basic")


@pytest.mark.parametrize("tier", ["guest", "basic", "premium", "admin"])
async def test_who_may_everything_makes_keys_of_every_tier(replicas: Replicas, tier: str):
    made = await create(replicas.calls(OPERATOR), user_id="carol", tier=tier)
    assert made.key.tier == tier


async def test_nobody_sees_or_revokes_the_key_of_another(replicas: Replicas):
    made = await create(replicas.calls(ANN))
    bob = replicas.calls(BOB)
    assert await listed(bob) == []
    with refused(errors.PermissionDenied, "user_id"):
        await listed(bob, "ann")
    messages = []
    for key_id in (made.key.id, "atl_nobodys"):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await revoke(bob, key_id)
        assert type(from_rpc_error(failure.value)) is errors.KeyNotFound
        messages.append((failure.value.details() or "").replace(key_id, "KEY"))
    assert messages[0] == messages[1]
    assert await is_let_in(replicas.calls(made.secret))
    assert [key.id for key in await listed(replicas.calls(ANN))] == [made.key.id]


async def test_unknown_scopes_and_lifetimes_out_of_bounds_are_refused_by_name(replicas: Replicas):
    with refused(errors.InvalidRequest, "scopes: must be of account, .*, got jobs.delete"):
        await create(replicas.calls(ANN), scopes=["jobs.delete", "jobs.read"])
    for lifetime in (timedelta(seconds=59), timedelta(days=3651)):
        with refused(errors.InvalidRequest, "lifetime"):
            await create(replicas.calls(ANN), lifetime=lifetime)


@pytest.mark.parametrize("name", ["night\0ly", "night\nly", "\x1b[2J", "\u202eylthgin"])
async def test_a_name_that_cannot_be_stored_or_shown_is_refused_by_name(replicas: Replicas, name: str):
    with refused(errors.InvalidRequest, "name: must be printable characters"):
        await create(replicas.calls(ANN), name=name)


async def test_keys_are_made_and_revoked_while_a_replica_keeps_house(replicas: Replicas, database_url: str):
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
        for lock in set(Lock) - {Lock.API_KEYS}:
            await other.execute("SELECT pg_advisory_lock(%s)", [lock])
        made = await asyncio.wait_for(create(replicas.calls(ANN)), 10)
        await asyncio.wait_for(revoke(replicas.calls(ANN), made.key.id), 10)


async def test_a_user_has_only_so_many_keys_at_once(replicas: Replicas, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "MAX_KEYS", 3)
    made = await asyncio.gather(
        *(create(replicas.calls(ANN, number % 2)) for number in range(8)), return_exceptions=True
    )
    good = [one for one in made if isinstance(one, edge_pb2.CreateKeyResponse)]
    assert len(good) == 3
    assert all(type(from_rpc_error(one)) is errors.QuotaExceeded for one in made if isinstance(one, grpc.RpcError))
    await revoke(replicas.calls(ANN), good[0].key.id)
    assert await create(replicas.calls(ANN))
    assert await create(replicas.calls(BOB))


async def test_keys_that_ended_long_ago_are_forgotten(replicas: Replicas, database: Database):
    old, lately = await create(replicas.calls(ANN)), await create(replicas.calls(ANN))
    async with database.connection() as connection:
        change = "UPDATE api_keys SET revoked = now() - %s::interval WHERE id = %s"
        await connection.execute(change, ["31 days", old.key.id])
        await connection.execute(change, ["29 days", lately.key.id])
    fresh = await create(replicas.calls(ANN))
    assert [key.id for key in await listed(replicas.calls(ANN))] == [fresh.key.id, lately.key.id]


async def test_the_last_use_of_a_key_is_told(replicas: Replicas, monkeypatch: pytest.MonkeyPatch):
    used, unused = await create(replicas.calls(ANN)), await create(replicas.calls(ANN))
    await is_let_in(replicas.calls(used.secret))
    ring = replicas.servers[0]._service._authenticator._api_keys  # type: ignore[attr-defined]
    await ring._write()
    last = {key.id: key.HasField("last_used") for key in await listed(replicas.calls(ANN))}
    assert last == {used.key.id: True, unused.key.id: False}


async def test_no_secret_is_in_the_log(replicas: Replicas, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    made = await create(replicas.calls(ANN))
    await is_let_in(replicas.calls(made.secret))
    await is_let_in(replicas.calls(made.secret + "x"))
    everything = everything_logged(caplog)
    assert made.key.id in everything  # the line of the audit log
    assert made.secret.rpartition("_")[2] not in everything
