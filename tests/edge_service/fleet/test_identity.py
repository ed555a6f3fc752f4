"""A worker takes calls from its own edge alone: by a token, by certificates, or by both."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.pb.chat.v1 import chat_pb2, chat_pb2_grpc
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.worker.v1 import worker_pb2, worker_pb2_grpc
from shared import identity
from shared.server import Server
from tests.kit.certificates import Authority
from tests.kit.edge import ANN, Calls, StartEdge
from tests.kit.logs import everything_logged
from tests.kit.steered import SteeredEngine, connected, killed, says, started_worker, turn, until

TOKEN = "token-of-the-workers"
StartWorker = Callable[..., Any]


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def engine() -> SteeredEngine:
    return SteeredEngine()


@pytest.fixture
def start_worker(engine: SteeredEngine, stack: contextlib.AsyncExitStack) -> StartWorker:
    async def start(**options: object) -> Server:
        server = await started_worker(engine, **options)  # type: ignore[arg-type]
        stack.push_async_callback(server.stop)
        return server

    return start


async def _completes(ann: Calls) -> None:
    job = await ann.submit(chat=says("red fox"))
    assert (await ann.ended(job.id)).chat_callback.assets[0].content == "red fox "
    texts = [e.delta.text async for e in ann.chat.Chat(turn("hi"), metadata=ann.metadata) if e.HasField("delta")]
    assert texts == ["hi "]


async def workers(start_edge: StartEdge, worker: Server, stack: contextlib.AsyncExitStack, **options: object) -> Any:
    """What an edge with these options knows of the worker, after it has asked it."""
    server = await start_edge([worker.address], **options)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
    calls = Calls(channel, ANN)
    [found] = server._service._fleet.workers  # type: ignore[attr-defined]
    return calls, found


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer another-token-of-workers"),)])
async def test_a_worker_with_a_token_takes_nobody_without_it(start_worker: StartWorker, metadata: Any):
    worker = await start_worker(worker_token=TOKEN)
    async with grpc.aio.insecure_channel(worker.address) as channel:
        stub = worker_pb2_grpc.WorkerServiceStub(channel)
        generate = chat_pb2_grpc.ChatServiceStub(channel).Generate
        for call in (
            stub.Describe(worker_pb2.DescribeRequest(), metadata=metadata),
            stub.WatchStatus(worker_pb2.WatchStatusRequest(), metadata=metadata).read(),
            stub.LoadModel(worker_pb2.LoadModelRequest(), metadata=metadata),
            generate(chat_pb2.GenerateRequest(), metadata=metadata).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        mine = (("authorization", f"Bearer {TOKEN}"),)
        assert (await stub.Describe(worker_pb2.DescribeRequest(), metadata=mine)).worker.worker_id


async def test_an_edge_with_the_token_works_with_the_worker(
    start_edge: StartEdge, start_worker: StartWorker, stack: contextlib.AsyncExitStack
):
    worker = await start_worker(worker_token=TOKEN)
    await _completes(await connected(await start_edge([worker.address], worker_token=TOKEN), ANN, stack))


@pytest.mark.parametrize("token", ["", "another-token-of-workers"])
async def test_an_edge_without_the_token_says_so_in_its_log_and_to_nobody_else(
    start_edge: StartEdge, start_worker: StartWorker, stack: contextlib.AsyncExitStack, token: str,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    caplog.set_level("DEBUG")
    worker = await start_worker(worker_token=TOKEN)
    ann, found = await workers(start_edge, worker, stack, worker_token=token)
    await until(lambda: found._refused)
    assert found.status is None
    assert "ATELIER_WORKER_TOKEN" in caplog.text
    assert TOKEN not in everything_logged(caplog)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await ann.chat.Chat(turn("hi"), metadata=ann.metadata).read()
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_worker_whose_token_was_replaced_costs_a_job_no_attempt(
    start_edge: StartEdge, start_worker: StartWorker, stack: contextlib.AsyncExitStack, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(identity, "LOOK_SECONDS", 0.0)
    file = tmp_path / "token"
    file.write_text(TOKEN)
    worker = await start_worker(worker_token_file=str(file))
    ann = await connected(await start_edge([worker.address], worker_token=TOKEN), ANN, stack)
    file.write_text("another-token-of-workers")
    request = edge_pb2.ChatRequest(request=turn("hi").request)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        [_ async for _ in ann.chat.Chat(request, metadata=ann.metadata)]
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE  # and not that the caller is unknown
    job = await ann.submit(chat=says("red fox"))
    file.write_text(TOKEN)
    ended = await ann.ended(job.id)
    assert ended.chat_callback.assets[0].content == "red fox "


@pytest.fixture
def authority() -> Authority:
    return Authority("the house")


@pytest.fixture
def mutual(authority: Authority, tmp_path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Options of worker and edge that know each other by certificates of one authority."""
    ca = authority.write(tmp_path / "ca.pem")
    (worker, worker_key), (edge, edge_key) = authority.issue(tmp_path, "worker"), authority.issue(tmp_path, "edge")
    return (
        {"tls_cert": worker, "tls_key": worker_key, "tls_ca": ca},
        {"worker_tls_cert": edge, "worker_tls_key": edge_key, "worker_tls_ca": ca},
    )


async def test_certificates_of_one_authority_let_edge_and_worker_work_together(
    start_edge: StartEdge, start_worker: StartWorker, stack: contextlib.AsyncExitStack, mutual: Any
):
    worker = await start_worker(**mutual[0])
    await _completes(await connected(await start_edge([worker.address], **mutual[1]), ANN, stack))


async def test_certificates_and_a_token_may_be_asked_for_together(
    start_edge: StartEdge, start_worker: StartWorker, stack: contextlib.AsyncExitStack, mutual: Any
):
    worker = await start_worker(worker_token=TOKEN, **mutual[0])
    server = await start_edge([worker.address], worker_token=TOKEN, worker_tls_name="worker", **mutual[1])
    await _completes(await connected(server, ANN, stack))


async def answered(worker: Server, credentials: grpc.ChannelCredentials | None) -> bool:
    """Whether the worker talks to whoever has these."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channel = (
        grpc.aio.secure_channel(worker.address, credentials, options)
        if credentials
        else grpc.aio.insecure_channel(worker.address, options)
    )
    async with channel:
        call = worker_pb2_grpc.WorkerServiceStub(channel).Describe(worker_pb2.DescribeRequest(), timeout=5)
        code = await call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    return bool(code == grpc.StatusCode.OK)


def credentials(ca: str, certificate: str = "", key: str = "") -> grpc.ChannelCredentials:
    """What the files say now."""
    own = [Path(name).read_bytes() for name in (key, certificate)] if certificate else []
    return grpc.ssl_channel_credentials(Path(ca).read_bytes(), *own)


async def test_whoever_has_no_certificate_of_the_authority_is_not_talked_to(
    start_worker: StartWorker, mutual: Any, tmp_path: Path
):
    worker = await start_worker(**mutual[0])
    certificate, key, ca = mutual[1].values()
    assert await answered(worker, credentials(ca, certificate, key))
    assert not await answered(worker, credentials(ca, *Authority("a stranger").issue(tmp_path, "stranger")))
    assert not await answered(worker, credentials(ca))
    assert not await answered(worker, None)


async def test_an_edge_does_not_talk_to_a_worker_of_another_authority(
    start_edge: StartEdge, start_worker: StartWorker, stack: contextlib.AsyncExitStack, mutual: Any, tmp_path: Path
):
    worker = await start_worker(**mutual[0])
    other = Authority("another").write(tmp_path / "other.pem")
    _, found = await workers(start_edge, worker, stack, **{**mutual[1], "worker_tls_ca": other})
    channel = found._channels.to(found.address)
    await until(lambda: channel._channel.get_state() == grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    assert found.status is None


async def test_both_sides_change_to_another_authority_without_a_restart(
    start_edge: StartEdge, start_worker: StartWorker, stack: contextlib.AsyncExitStack, mutual: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(identity, "LOOK_SECONDS", 0.0)
    worker = await start_worker(**mutual[0])
    server = await start_edge([worker.address], **mutual[1])
    ann = await connected(server, ANN, stack)
    [known] = server._service._fleet.workers  # type: ignore[attr-defined]
    certificate, key, ca = mutual[1].values()
    before, old = known._channels.to(known.address), credentials(ca, certificate, key)
    next_authority = Authority("the next")
    for name in ("worker", "edge"):
        next_authority.issue(tmp_path, name)
    next_authority.write(tmp_path / "ca.pem")
    assert not await answered(worker, old)
    assert await answered(worker, credentials(ca, certificate, key))
    assert known.status is not None  # who is connected stays so
    await killed(worker)
    await start_worker(listen=worker.address, **mutual[0])
    await until(lambda: known._channels._opened not in (None, before) and known.status is not None)
    assert known._channels._replaced == []
    await _completes(ann)
