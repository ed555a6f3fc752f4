"""Tokens of an issuer at a real edge: who they are there, and keys that change under it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from atelier.contracts.errors import PermissionDenied, from_rpc_error
from atelier.pb.edge.v1 import edge_pb2
from edge_service import bootstrap
from edge_service.auth import jwks
from edge_service.auth.jwt import user_id
from edge_service.config import EdgeConfig
from edge_service.policy.folder import BUILT_IN
from shared.config import load
from tests.edge_service.auth.test_keys_end_to_end import create, is_let_in
from tests.kit.edge import Calls, StartEdge
from tests.kit.issuer import AUDIENCE, Key, LocalIssuer, key_set, token
from tests.kit.steered import until

ISSUER = "https://issuer.example"


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as opened:
        yield opened


async def opened(start_edge: StartEdge, stack: contextlib.AsyncExitStack, **options: object) -> grpc.aio.Channel:
    server = await start_edge(**{"jwt_audience": AUDIENCE, **options})
    keys = server._service._authenticator._jwt_tokens._keys  # type: ignore[attr-defined]
    await until(lambda: keys.usable)
    return await stack.enter_async_context(grpc.aio.insecure_channel(server.address))


async def test_a_token_of_the_issuer_is_a_user_of_its_own(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, issuer: LocalIssuer
):
    channel = await opened(start_edge, stack, jwt_issuer=issuer.url)
    [key] = issuer.keys
    ann = Calls(channel, token(key, issuer.url, atelier_tier="basic"))
    job = await ann.submit(sdxl={"type": "sdxl_image_fast", "prompt": "a fox"})
    assert job.user_id == user_id(issuer.url, "ann")
    assert (await Calls(channel, token(key, issuer.url)).get(job.id)).id == job.id
    stranger = Calls(channel, token(key, issuer.url, sub="bob"))
    with pytest.raises(grpc.aio.AioRpcError, match="no job"):
        await stranger.get(job.id)
    reader = Calls(channel, token(key, issuer.url, scope="jobs.read"))
    with pytest.raises(grpc.aio.AioRpcError, match=r"jobs\.write") as failure:
        await reader.submit(sdxl={})
    assert isinstance(from_rpc_error(failure.value), PermissionDenied)
    for bad in (token(key, issuer.url, aud="other"), token(Key("first"), issuer.url), "a.b.c"):
        assert not await is_let_in(Calls(channel, bad))


async def test_a_key_that_a_user_of_the_issuer_makes_is_theirs_and_no_more_explicit(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, issuer: LocalIssuer
):
    server = await start_edge(jwt_audience=AUDIENCE, jwt_issuer=issuer.url)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
    made = await create(
        Calls(channel, token(issuer.keys[0], issuer.url, scope="account chat", atelier_content_mode="sfw"))
    )
    guard = server._service.guard
    assert guard is not None
    found = guard("/atelier.edge.v1.CatalogService/GetCatalog", {"authorization": f"Bearer {made.secret}"})
    holder = await found  # type: ignore[misc]
    assert (holder.user_id, holder.tier) == (user_id(issuer.url, "ann"), "guest")
    assert (holder.scopes, holder.content_mode, holder.key_id) == ({"chat"}, edge_pb2.CONTENT_MODE_SFW, made.key.id)


async def test_the_issuers_keys_change_without_a_restart(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bootstrap, "ISSUER_SECONDS", 0.1)
    channel = await opened(start_edge, stack, jwt_issuer=issuer.url)
    first, second = issuer.keys[0], Key("second", "RS256")
    old, new = Calls(channel, token(first, issuer.url)), Calls(channel, token(second, issuer.url))
    assert await is_let_in(old)
    issuer.keys = [first, second]
    assert await is_let_in(new)  # the unknown id made it look
    assert await is_let_in(old)
    issuer.keys, asked = [second], issuer.asked
    await until(lambda: issuer.asked > asked + 1)
    assert not await is_let_in(old)
    assert await is_let_in(new)


async def test_a_flood_of_unknown_keys_does_not_reach_the_issuer(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, issuer: LocalIssuer
):
    channel = await opened(start_edge, stack, jwt_issuer=issuer.url)
    asked = issuer.asked
    for number in range(50):
        assert not await is_let_in(Calls(channel, token(issuer.keys[0], issuer.url, {"kid": f"unknown{number}"})))
    assert issuer.asked == asked + 1


async def test_an_issuer_that_falls_silent_locks_nobody_out_at_once(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bootstrap, "ISSUER_SECONDS", 0.05)
    monkeypatch.setattr(jwks, "AGAIN_SECONDS", 0.05)
    channel = await opened(start_edge, stack, jwt_issuer=issuer.url)
    issuer.status, calls = 500, issuer.calls
    await until(lambda: issuer.calls > calls + 1)
    assert await is_let_in(Calls(channel, token(issuer.keys[0], issuer.url)))


async def test_an_edge_starts_though_the_issuer_is_away_and_lets_people_in_once_it_is_back(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jwks, "UNKNOWN_SECONDS", 0.1)
    issuer.status = 503
    server = await start_edge(jwt_audience=AUDIENCE, jwt_issuer=issuer.url)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
    ann = Calls(channel, token(issuer.keys[0], issuer.url))
    assert not await is_let_in(ann)
    issuer.status = 200
    async with asyncio.timeout(10):
        while not await is_let_in(ann):
            await asyncio.sleep(0.02)


async def test_keys_in_a_file_change_without_a_restart(
    start_edge: StartEdge, stack: contextlib.AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bootstrap, "FILE_SECONDS", 0.05)
    file, first, second = tmp_path / "jwks.json", Key("first", "EdDSA"), Key("second", "EdDSA")
    file.write_text(json.dumps(key_set(first)))
    channel = await opened(start_edge, stack, jwt_issuer=ISSUER, jwt_jwks=str(file))
    old, new = Calls(channel, token(first, ISSUER)), Calls(channel, token(second, ISSUER))
    assert (await is_let_in(old), await is_let_in(new)) == (True, False)
    file.write_text(json.dumps(key_set(second)))
    async with asyncio.timeout(10):
        while (await is_let_in(old), await is_let_in(new)) != (False, True):
            await asyncio.sleep(0.02)


async def test_without_an_issuer_no_such_token_is_taken(start_edge: StartEdge, stack: contextlib.AsyncExitStack):
    server = await start_edge()
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
    assert not await is_let_in(Calls(channel, token(Key("first"), ISSUER)))


@pytest.mark.parametrize(
    ("options", "guest", "says"),
    [
        (["--jwt-default-tier=visitor"], "visitor", ""),
        ([], "visitor", "must be one of visitor, basic, premium, admin"),
        ([], "guest", ""),
        ([], "fleet", "without operator permissions"),
    ],
)
def test_the_tier_of_those_who_name_none_is_one_of_the_operators_own(
    options: list[str], guest: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """Of the policies that the edge will have, not of those that it is shipped with."""
    tiers = (BUILT_IN / "tiers.yaml").read_text()
    if guest == "fleet":
        tiers = tiers.replace("job.chat_turn, chat]", "job.chat_turn, chat, fleet]")
    else:
        tiers = tiers.replace("  guest:\n", f"  {guest}:\n")
    (tmp_path / "tiers.yaml").write_text(tiers)
    (tmp_path / "content.yaml").write_text((BUILT_IN / "content.yaml").read_text().replace("[guest]", "[basic]"))
    given = ["--jwt-issuer=https://i.example", "--jwt-audience=a", f"--policies={tmp_path}", *options]
    arguments = [*given, f"--assets={(tmp_path / 'assets').as_uri()}"]
    if not says:
        assert load(EdgeConfig, "edge_service", arguments).jwt_default_tier == guest
        return
    with pytest.raises(SystemExit):
        load(EdgeConfig, "edge_service", arguments)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("ATELIER_JWT_DEFAULT_TIER: ")
    assert says in line


@pytest.mark.parametrize(
    ("options", "variable", "says"),
    [
        (["--jwt-issuer=https://i.example"], "JWT_AUDIENCE", "belong together"),
        (["--jwt-audience=a"], "JWT_AUDIENCE", "belong together"),
        (["--jwt-issuer=http://i.example", "--jwt-audience=a"], "JWT_ISSUER", "https"),
        (["--jwt-jwks=/nowhere"], "JWT_JWKS", "without jwt_issuer"),
        (["--jwt-issuer=https://i.example", "--jwt-audience=a", "--jwt-jwks=/nowhere"], "JWT_JWKS", "No such file"),
        (["--jwt-issuer=https://i.example", "--jwt-audience=a", "--jwt-jwks=http://i.example"], "JWT_JWKS", "https"),
        (["--jwt-skew-seconds=301"], "JWT_SKEW_SECONDS", "300"),
        (["--jwt-skew-seconds=-1"], "JWT_SKEW_SECONDS", "0"),
        (["--jwt-tier-claim="], "JWT_TIER_CLAIM", "at least 1"),
        (["--jwt-default-tier=owner"], "JWT_DEFAULT_TIER", "must be one of guest"),
        (["--jwt-default-tier=admin"], "JWT_DEFAULT_TIER", "without operator permissions"),
        (["--token=atl_abc"], "TOKEN", "is an API key"),
        (["--token=short"], "TOKEN", "at least 16"),
        (["--token=long enough but of many words"], "TOKEN", "must be one word"),
        (["--worker-tls-ca=/nowhere"], "WORKER_TLS_CA", "/nowhere cannot be read"),
        (["--worker-token=short"], "WORKER_TOKEN", "at least 16"),
    ],
)  # fmt: skip
def test_each_setting_is_checked_at_start(
    options: list[str], variable: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    with pytest.raises(SystemExit):
        load(EdgeConfig, "edge_service", [*options, f"--assets={tmp_path.as_uri()}"])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ATELIER_{variable}: ")
    assert says in line
    assert "atl_abc" not in line
