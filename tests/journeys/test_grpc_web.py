"""The edge through the real Envoy, called as a browser calls: preflight, gRPC-Web, trailers in the body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2

from atelier import envoy
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.bootstrap import Edge
from edge_service.config import EdgeConfig
from edge_service.queue.watch.hub import HEARTBEAT_SECONDS
from shared.server import Server
from tests.kit.grpc_web import ASKED_HEADERS, Answer, Page

TOKEN = "token-of-a-web-page"
GET_CATALOG = "/atelier.edge.v1.CatalogService/GetCatalog"
GET_JOB = "/atelier.edge.v1.JobService/GetJob"
SUBMIT = "/atelier.edge.v1.JobService/SubmitJob"
WATCH = "/atelier.edge.v1.JobService/WatchJob"
CANCEL = "/atelier.edge.v1.JobService/CancelJob"
JOB = {"sdxl": {"type": "sdxl_image_fast", "prompt": "a lighthouse", "config": {"num_images": 1}}}
Pages = Callable[..., Page]


@contextlib.asynccontextmanager
async def running_edge(folder: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[Server]:
    """An edge without workers, on a database of its own."""
    config = EdgeConfig(
        listen=listen, http_listen="127.0.0.1:0", data=folder, assets=(folder / "user-library").as_uri(),
        token=TOKEN, drain_seconds=1,
    )  # fmt: skip
    server = Server(Edge(config), config)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def running_envoy(edge_address: str, folder: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Envoy as the launcher starts it; yields its address."""
    process = await asyncio.create_subprocess_exec(*envoy.command(edge_address, listen, folder))
    try:
        async with asyncio.timeout(20):
            while (address := envoy.bound_address(folder)) is None:
                await asyncio.sleep(0.02)
        yield address
    finally:
        process.terminate()
        assert await process.wait() == 0


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pages]:
    """Opens pages of a caller whom the edge knows: `page(origin=..., text=True)`."""
    folder = tmp_path_factory.mktemp("web")
    async with running_edge(folder / "edge") as edge, running_envoy(edge.address, folder) as address:
        yield lambda **options: Page(address, **{"token": TOKEN, **options})


async def ask(page: Page, method: str, request: Message | bytes) -> Answer:
    return await asyncio.to_thread(page.call, method, request)


async def next_message(messages: Iterator[edge_pb2.WatchJobResponse]) -> edge_pb2.WatchJobResponse | None:
    return await asyncio.to_thread(next, messages, None)


async def submitted(page: Page) -> str:
    answer = await ask(page, SUBMIT, from_spec_dict(edge_pb2.SubmitJobRequest, JOB))
    [response] = answer.messages(edge_pb2.SubmitJobResponse)
    return response.job.id


both_kinds = pytest.mark.parametrize("text", [False, True], ids=["grpc-web+proto", "grpc-web-text"])


@both_kinds
async def test_a_page_makes_a_unary_call(page: Pages, text: bool) -> None:
    answer = await ask(page(text=text), GET_CATALOG, edge_pb2.GetCatalogRequest())
    [catalog] = answer.messages(edge_pb2.GetCatalogResponse)
    assert "sdxl_image_fast" in {entry.name for entry in catalog.job_types}
    assert (answer.response.status, answer.code) == (200, 0)
    assert "grpc-status" in answer.trailers_in_body
    assert answer.response.headers["content-type"].startswith(
        "application/grpc-web-text" if text else "application/grpc-web+proto"
    )
    assert answer.response.headers["access-control-allow-origin"] == "http://localhost:5173"


@both_kinds
async def test_a_page_reads_why_a_call_failed(page: Pages, text: bool) -> None:
    answer = await ask(page(text=text), SUBMIT, from_spec_dict(edge_pb2.SubmitJobRequest, {"sdxl": {"prompt": ""}}))
    assert list(answer.messages(edge_pb2.SubmitJobResponse)) == []
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    [reason, fields] = answer.details.details
    assert details_pb2.ErrorInfo.FromString(reason.value).reason == "INVALID_REQUEST"
    violations = details_pb2.BadRequest.FromString(fields.value).field_violations
    assert [violation.field for violation in violations if violation.field in answer.message]
    exposed = {name.strip() for name in answer.response.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"grpc-status", "grpc-message", "grpc-status-details-bin"}


async def test_garbage_from_a_page_is_an_invalid_argument(page: Pages) -> None:
    answer = await ask(page(), GET_JOB, b"\xff\xff\xff\xff")
    assert list(answer.messages(edge_pb2.GetJobResponse)) == []
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_a_page_without_a_token_is_turned_away(page: Pages) -> None:
    answer = await ask(page(token=""), GET_CATALOG, edge_pb2.GetCatalogRequest())
    assert list(answer.messages(edge_pb2.GetCatalogResponse)) == []
    assert answer.code == grpc.StatusCode.UNAUTHENTICATED.value[0]


@both_kinds
async def test_a_stream_reaches_the_page_event_by_event(page: Pages, text: bool) -> None:
    job_id = await submitted(page())
    watch = await ask(page(text=text), WATCH, edge_pb2.WatchJobRequest(job_id=job_id))
    messages = watch.messages(edge_pb2.WatchJobResponse)
    first = await next_message(messages)
    assert first is not None
    assert first.event.sequence == 1
    # The first event was read while the stream was open: nothing had ended the job yet.
    assert list(
        (await ask(page(), CANCEL, edge_pb2.CancelJobRequest(job_id=job_id))).messages(edge_pb2.CancelJobResponse)
    )
    # Between the events it is told its place in the queue.
    rest = [message for message in await asyncio.to_thread(list, messages) if message.HasField("event")]
    assert rest[-1].event.ended.id == job_id
    assert [message.event.sequence for message in rest] == list(range(2, 2 + len(rest)))
    assert watch.trailers_in_body["grpc-status"] == "0"


async def test_an_error_after_the_first_event_comes_in_the_trailers_of_the_body(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        edge = await stack.enter_async_context(running_edge(tmp_path / "edge"))
        page = Page(await stack.enter_async_context(running_envoy(edge.address, tmp_path)), token=TOKEN)
        watch = await ask(page, WATCH, edge_pb2.WatchJobRequest(job_id=await submitted(page)))
        messages = watch.messages(edge_pb2.WatchJobResponse)
        assert await next_message(messages)
        await edge.stop()
        while (message := await next_message(messages)) is not None:
            assert message.HasField("queue")  # its place may have been on its way
    assert watch.response.headers["grpc-status"] is None
    assert watch.trailers_in_body["grpc-status"] == str(grpc.StatusCode.UNAVAILABLE.value[0])
    assert "watch again after sequence 1" in watch.message
    assert details_pb2.ErrorInfo.FromString(watch.details.details[0].value).reason == "DRAINING"


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://127.0.0.1:8000", "http://[::1]", "https://localhost"]
)
async def test_a_page_of_this_machine_may_call(page: Pages, origin: str) -> None:
    response = await asyncio.to_thread(page(origin=origin).preflight, SUBMIT)
    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = {name.strip() for name in response.headers["access-control-allow-headers"].split(",")}
    assert allowed >= set(ASKED_HEADERS.split(","))


STRANGERS = [
    "https://example.com",
    "http://localhost.example.com",
    "http://example.com/localhost",
    "http://localhost:80.example.com",
    "http://127.0.0.1.example.com",
    "null",
]


@pytest.mark.parametrize("origin", STRANGERS)
async def test_a_page_of_another_origin_may_not_call(page: Pages, origin: str) -> None:
    response = await asyncio.to_thread(page(origin=origin).preflight, SUBMIT)
    assert response.headers["access-control-allow-origin"] is None
    answer = await ask(page(origin=origin), GET_CATALOG, edge_pb2.GetCatalogRequest())
    assert list(answer.messages(edge_pb2.GetCatalogResponse))
    assert answer.response.headers["access-control-allow-origin"] is None


@pytest.mark.parametrize("path", ["/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/", "/metrics"])
async def test_only_the_edge_api_is_reachable_through_the_proxy(page: Pages, path: str) -> None:
    answer = await ask(page(), path, b"")
    assert answer.response.status == 404
    assert answer.response.read() == b""


async def test_plain_grpc_goes_through_the_same_port(page: Pages) -> None:
    async with grpc.aio.insecure_channel(page().address) as channel:
        stub = edge_pb2_grpc.CatalogServiceStub(channel)
        metadata = (("authorization", f"Bearer {TOKEN}"),)
        assert (await stub.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=metadata)).job_types


async def test_a_page_is_told_that_the_edge_is_down_and_finds_it_again(tmp_path: Path) -> None:
    async with running_edge(tmp_path / "edge") as edge:
        edge_address = edge.address
    async with running_envoy(edge_address, tmp_path) as address:
        page = Page(address, token=TOKEN)
        answer = await ask(page, GET_CATALOG, edge_pb2.GetCatalogRequest())
        assert list(answer.messages(edge_pb2.GetCatalogResponse)) == []
        assert answer.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert answer.response.headers["access-control-allow-origin"] == page.origin
        async with running_edge(tmp_path / "edge", edge_address):
            answer = await ask(page, GET_CATALOG, edge_pb2.GetCatalogRequest())
            assert list(answer.messages(edge_pb2.GetCatalogResponse))


def test_no_stream_is_cut_between_two_heartbeats() -> None:
    resources = yaml.safe_load(envoy.SOURCE.read_text())["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    routes = [route["route"] for route in manager["route_config"]["virtual_hosts"][0]["routes"] if "route" in route]
    assert routes
    for route in routes:
        assert route["timeout"] == "0s"
        idle = route.get("idle_timeout", manager["stream_idle_timeout"])
        assert float(idle.removesuffix("s")) > 2 * HEARTBEAT_SECONDS


@both_kinds
async def test_a_call_without_a_message_is_refused_at_once(page: Pages, text: bool) -> None:
    answer = await asyncio.to_thread(page(text=text).post, GET_CATALOG, b"")
    assert answer.code == grpc.StatusCode.INTERNAL.value[0]
    assert answer.message == "the call has no message"
    assert answer.response.headers["access-control-allow-origin"] == "*"


async def test_a_call_whose_message_is_cut_off_ends_when_nothing_more_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = tmp_path / "hasty.yaml"
    hasty.write_text(envoy.SOURCE.read_text().replace("idle_timeout: 90s", "idle_timeout: 0.5s"))
    monkeypatch.setattr(envoy, "SOURCE", hasty)
    async with running_edge(tmp_path / "edge") as edge, running_envoy(edge.address, tmp_path) as address:
        answer = await asyncio.to_thread(Page(address, token=TOKEN).post, GET_CATALOG, b"\0\0\0\0\5abc")
        assert answer.code == grpc.StatusCode.UNAVAILABLE.value[0]
