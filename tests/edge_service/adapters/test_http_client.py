import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import pytest

from edge_service.adapters import http_client as outgoing
from edge_service.adapters.http_client import GuardedHttpClient, RequestFailed, Resolve
from edge_service.adapters.url_guard import UrlGuard
from tests.kit.receiver import Receiver, receiving

LOOPBACK = UrlGuard("127.0.0.0/8")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


def standing_for(*answers: Iterable[str]) -> Resolve:
    """Resolves to one answer after the other, to the last of them for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Iterable[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@contextlib.asynccontextmanager
async def listening(
    speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """The port of a server that says whatever it wants."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await speak(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def post(addresses: UrlGuard, url: str, resolve: Resolve | None = None) -> int:
    client = GuardedHttpClient(addresses, resolve)
    try:
        return (await client.post(url, {"Content-Type": "application/json"}, b"{}")).status
    finally:
        await client.close()


async def test_a_body_arrives_with_its_headers(receiver: Receiver):
    assert await post(LOOPBACK, f"{receiver.url}/a?b=c") == 200
    [received] = receiver.received
    assert (received.path, received.body) == ("/hook/a", b"{}")
    assert received.headers == {"host": receiver.address, "content-type": "application/json", "content-length": "2"}


async def test_a_name_that_stands_for_another_address_than_when_it_was_judged_is_refused(receiver: Receiver):
    resolve = standing_for(["127.0.0.1"], ["10.0.0.1"])
    port = receiver.address.rpartition(":")[2]
    client = GuardedHttpClient(LOOPBACK, resolve)
    url = f"http://hooks.example.com:{port}/"
    assert (await client.post(url, {}, b"")).status == 200
    with pytest.raises(RequestFailed, match="address not allowed"):
        await client.post(url, {}, b"")
    await client.close()
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["fe80::1%lo"], ["169.254.169.254"],
     ["64:ff9b::7f00:1"]],
)  # fmt: skip
async def test_a_harmless_name_that_leads_inside_is_never_connected_to(receiver: Receiver, answers: list[str]):
    UrlGuard().check("webhook.url", "http://hooks.example.com/")
    with pytest.raises(RequestFailed, match="address not allowed"):
        await post(
            UrlGuard(), f"http://hooks.example.com:{receiver.address.rpartition(':')[2]}/", standing_for(answers)
        )
    assert receiver.received == []


async def test_an_address_is_judged_again_when_it_is_written_out(receiver: Receiver):
    with pytest.raises(RequestFailed, match="address not allowed"):
        await post(UrlGuard(), receiver.url)
    assert receiver.received == []


async def test_the_name_is_asked_for_once_and_kept_in_the_request(receiver: Receiver):
    asked = []

    async def resolve(host: str, port: int) -> Iterable[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    port = int(receiver.address.rpartition(":")[2])
    await post(LOOPBACK, f"http://hooks.example.com:{port}/", resolve)
    assert asked == [("hooks.example.com", port)]
    assert receiver.received[0].headers["host"] == f"hooks.example.com:{port}"


async def test_tls_asks_for_the_name_and_not_for_the_address():
    hello = asyncio.get_running_loop().create_future()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.set_result(await reader.read(4096))

    async with listening(speak) as port:
        with pytest.raises(RequestFailed, match="failed"):
            await post(LOOPBACK, f"https://hooks.example.com:{port}/", standing_for(["127.0.0.1"]))
    assert b"hooks.example.com" in await hello


async def test_a_receiver_without_tls_is_told_from_one_that_is_not_there():
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with listening(speak) as port:
        with pytest.raises(RequestFailed, match="TLS failed"):
            await post(LOOPBACK, f"https://127.0.0.1:{port}/")
    with pytest.raises(RequestFailed, match="connection failed"):
        await post(LOOPBACK, f"https://127.0.0.1:{port}/")


async def test_the_next_address_of_a_name_is_tried(receiver: Receiver):
    port = receiver.address.rpartition(":")[2]
    answers = standing_for(["127.0.0.2", "127.0.0.1"])  # the receiver listens on the second alone
    assert await post(LOOPBACK, f"http://hooks.example.com:{port}/", answers) == 200


async def test_a_redirect_to_a_private_address_is_not_followed(receiver: Receiver):
    async with receiving() as inside:
        receiver.statuses, receiver.headers = [307], {"location": inside.url}
        assert await post(LOOPBACK, receiver.url) == 307
        assert inside.received == []


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    async with receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.address}")
        assert await post(LOOPBACK, receiver.url) == 200
        assert (len(receiver.received), proxy.received) == (1, [])


async def test_a_receiver_that_says_nothing_times_out(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.2)
    receiver.open.clear()
    with pytest.raises(RequestFailed, match="timed out"):
        await post(LOOPBACK, receiver.url)


async def test_a_receiver_that_drips_times_out(monkeypatch: pytest.MonkeyPatch):
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"a: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.5)
    async with listening(speak) as port, asyncio.timeout(20):
        with pytest.raises(RequestFailed, match="timed out"):
            await post(LOOPBACK, f"http://127.0.0.1:{port}/")


async def test_an_answer_without_end_is_not_read():
    sent = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with listening(speak) as port:
        assert await post(LOOPBACK, f"http://127.0.0.1:{port}/") == 200
    assert sent < 16 * 2**20  # what the kernel holds, and no more


async def test_what_is_no_http_is_said():
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()

    async with listening(speak) as port:
        with pytest.raises(RequestFailed, match="not an HTTP answer"):
            await post(LOOPBACK, f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("resolve", [standing_for([]), None])
async def test_a_name_that_stands_for_nothing_is_said(resolve: Resolve | None):
    with pytest.raises(RequestFailed, match="name not found"):
        await post(UrlGuard(), "http://nothing.invalid/", resolve)
