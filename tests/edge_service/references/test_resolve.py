"""Ways into the house through a reference picture, each over the real path: References, GuardedHttpClient, sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from atelier.contracts.errors import InvalidRequest, ReferenceUnusable
from atelier.pb.sdxl.v1 import sdxl_pb2
from edge_service.adapters import http_client as outgoing
from edge_service.adapters.database import Database
from edge_service.adapters.http_client import GuardedHttpClient, RequestFailed, Resolve
from edge_service.adapters.url_guard import UrlGuard
from edge_service.references.resolve import References
from edge_service.references.uploads import Uploads
from shared.assets import AssetStore
from tests.edge_service.adapters.test_http_client import listening, standing_for
from tests.edge_service.adapters.test_url_guard import FORBIDDEN
from tests.kit.decided import decided_later
from tests.kit.pictures import encoded, plain, png_of

LOOPBACK = UrlGuard("127.0.0.0/8")
PICTURE = plain("red")


class Site:
    """A site on the loopback network that answers a path with bytes as they go over the wire."""

    def __init__(self, port: int, answers: dict[str, bytes]) -> None:
        self.port, self.answers, self.asked = port, answers, list[bytes]()

    def url(self, path: str = "/picture.png", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    given = {"Content_Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(b"", f"{status} Elsewhere", Location=location)


@contextlib.asynccontextmanager
async def serving(answers: dict[str, bytes]) -> AsyncIterator[Site]:
    site = Site(0, answers)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        site.asked.append(request)
        writer.write(site.answers[request.split()[1].decode()])
        await writer.drain()

    async with listening(speak) as site.port:
        yield site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving({"/picture.png": answer(PICTURE)}) as running:
        yield running


@contextlib.asynccontextmanager
async def client(addresses: UrlGuard, resolve: Resolve | None = None) -> AsyncIterator[GuardedHttpClient]:
    opened = GuardedHttpClient(addresses, resolve)
    try:
        yield opened
    finally:
        await opened.close()


async def get(url: str, addresses: UrlGuard = LOOPBACK, resolve: Resolve | None = None, most: int = 10_000) -> bytes:
    async with client(addresses, resolve) as opened:
        return await opened.get(url, most)


async def failure(url: str, addresses: UrlGuard = LOOPBACK, resolve: Resolve | None = None, most: int = 10_000) -> str:
    with pytest.raises(RequestFailed) as refused:
        await get(url, addresses, resolve, most)
    return refused.value.why


Resolving = Callable[[str], Awaitable[tuple[str, list[str]]]]


@pytest.fixture(scope="module")
async def refused(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Resolving]:
    """Why a job's reference is refused, and which names were asked for on the way."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Iterable[str]:
        asked.append(host)
        return ["127.0.0.1"]

    uploads = Uploads(Database(), AssetStore((tmp_path_factory.mktemp("fetching") / "library").as_uri()))
    async with client(UrlGuard(), resolve) as opened:
        references = References(uploads, opened, UrlGuard())

        async def why(url: str) -> tuple[str, list[str]]:
            asked.clear()
            job = sdxl_pb2.SdxlJob()
            job.metadata.reference_image_url = url
            with pytest.raises((InvalidRequest, ReferenceUnusable)) as raised:
                await decided_later(references.resolve(job, "ann", permitted=True))
            assert job.metadata.reference_image_url == url
            assert not job.HasField("references")
            return raised.value.message, list(asked)

        yield why
    uploads.close()


# Without a scheme it is the key of an asset, and looked up as one.
KEYS = ("", "example.com/hook")


@pytest.mark.parametrize("url", [url for url in FORBIDDEN if url not in KEYS])
async def test_an_address_inside_is_never_asked_for(refused: Resolving, url: str):
    message, asked = await refused(url)
    assert message.startswith("sdxl.metadata.reference_image_url: ")
    assert asked == []
    assert "secret" not in message
    assert "passwd" not in message


@pytest.mark.parametrize(
    "url",
    ["http://images.example.com/a.png", "https://images.example.com/a.png?token=secret", "http://EXAMPLE.com:8080/",
     "http://xn--bcher-kva.example/", "http://1.2.3.4.nip.io/", "http://127.0.0.1.nip.io/", "http://a_b.example.com/"],
)  # fmt: skip
async def test_a_name_of_the_internet_that_leads_inside_is_asked_for_and_not_connected_to(refused: Resolving, url: str):
    message, asked = await refused(url)
    assert message == "metadata.reference_image_url: could not be fetched: address not allowed"
    assert len(asked) == 1


INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "192.0.2.1", "192.88.99.1", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "100::1", "fc00::1", "fd00:ec2::254", "fd12:3456::1", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
async def test_whatever_a_name_stands_for_no_connection_goes_inside(site: Site, address: str):
    for answers in ([address], ["8.8.8.8", address], [address, "8.8.8.8"]):
        url = site.url(host="images.example.com")
        assert await failure(url, UrlGuard(), standing_for(answers)) == "address not allowed"
    assert site.asked == []


async def test_a_picture_is_fetched_as_it_is(site: Site):
    assert await get(site.url()) == PICTURE
    [request] = site.asked
    assert request.startswith(b"GET /picture.png HTTP/1.1\r\n")
    names = {line.partition(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept", b"accept-encoding", b"user-agent"}
    assert b"Accept-Encoding: identity" in request


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_and_asked_with_get(site: Site, status: int):
    site.answers["/moved"] = redirect("/picture.png", status)
    assert await get(site.url("/moved")) == PICTURE
    assert site.asked[1].startswith(b"GET /picture.png ")


async def test_three_redirects_are_followed_and_no_fourth(site: Site):
    for number in range(1, 5):
        site.answers[f"/{number}"] = redirect(f"/{number - 1}" if number > 1 else "/picture.png")
    assert await get(site.url("/3")) == PICTURE
    assert await failure(site.url("/4")) == "more than 3 redirects"


async def test_a_loop_of_redirects_ends(site: Site):
    site.answers |= {"/a": redirect("/b"), "/b": redirect("/a")}
    assert await failure(site.url("/a")) == "more than 3 redirects"
    assert len(site.asked) == 4


# What stays on the site, which is allowed here.
ON_SITE = ("http://127.0.0.1/", "http:///path")
ELSEWHERE = [url for url in FORBIDDEN if "://" in url and url.isascii() and url.isprintable() and url not in ON_SITE]


async def inside_but_for_the_site(host: str, port: int) -> Iterable[str]:
    return [host if host == "127.0.0.1" else "10.0.0.1"]


@pytest.mark.parametrize("location", ELSEWHERE)
async def test_a_redirect_to_what_is_forbidden_is_not_followed(site: Site, location: str):
    site.answers["/moved"] = redirect(location)
    why = await failure(site.url("/moved"), resolve=inside_but_for_the_site)
    assert why in ("address not allowed", "a redirect that leads nowhere")
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("", "a redirect that leads nowhere"), ("http://[::1", "a redirect that leads nowhere"),
        ("file:///etc/passwd", "address not allowed"), ("ftp://127.0.0.1/", "address not allowed"),
        ("gopher://127.0.0.1:6379/_x", "address not allowed"), ("data:image/png;base64,AAAA", "address not allowed"),
        ("javascript:alert(1)", "address not allowed"), ("http://ann:secret@127.0.0.1/", "address not allowed"),
        ("//169.254.169.254/latest/", "address not allowed"), ("//10.0.0.1/", "address not allowed"),
        ("///etc/passwd", None), ("\\\\10.0.0.1\\share", "address not allowed"), ("/a b", "address not allowed"),
        ("/#part", "address not allowed"), ("http://b\xfccher.example/", "address not allowed"),
    ],
)  # fmt: skip
async def test_a_redirect_cannot_leave_the_rules(site: Site, location: str, why: str | None):
    site.answers |= {
        "/moved": f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"),
        "///etc/passwd": answer(b"", "404 Not Found"), "/etc/passwd": answer(b"", "404 Not Found"),
    }  # fmt: skip
    assert await failure(site.url("/moved")) == (why or "answered with status 404")


async def test_a_header_cannot_be_smuggled_through_a_redirect(site: Site):
    site.answers["/moved"] = redirect("/picture.png%0d%0aX-Evil:1")
    site.answers["/picture.png%0d%0aX-Evil:1"] = answer(PICTURE)
    assert await get(site.url("/moved")) == PICTURE
    assert b"\r\nX-Evil" not in site.asked[1]


async def test_each_hop_asks_for_its_name_anew(site: Site):
    """The name leads to the site at first, and inside when the redirect comes back to it."""
    url = site.url("/moved", "images.example.com")
    site.answers["/moved"] = redirect(site.url(host="images.example.com"))
    assert await get(url, resolve=standing_for(["127.0.0.1"])) == PICTURE
    asked = len(site.asked)
    assert await failure(url, resolve=standing_for(["127.0.0.1"], ["10.0.0.1"])) == "address not allowed"
    assert len(site.asked) == asked + 1


async def test_a_name_is_asked_for_once_a_hop_and_its_answer_is_what_is_connected_to(site: Site):
    """A resolver whose second answer leads inside gets no second question."""
    resolve = standing_for(["127.0.0.1"], ["169.254.169.254"])
    assert await get(site.url(host="images.example.com"), resolve=resolve) == PICTURE


async def test_from_https_no_redirect_leads_to_http():
    with pytest.raises(RequestFailed, match="from https to http"):
        outgoing._next("HTTPS://images.example.com/a", "http://images.example.com/b")
    assert outgoing._next("https://images.example.com/a", "/b") == "https://images.example.com/b"
    assert outgoing._next("http://images.example.com/a", "https://images.example.com/b").startswith("https:")


@pytest.mark.parametrize("status", ["204 Empty", "206 Part", "304 Same", "400 Bad", "401 No", "404 None", "500 Oh"])
async def test_only_200_is_an_answer(site: Site, status: str):
    body = b"" if status[:3] in ("204", "304") else b"secret text of the other side"
    site.answers["/picture.png"] = answer(body, status)
    why = await failure(site.url())
    assert why == f"answered with status {status[:3]}"


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(site: Site):
    site.answers["/picture.png"] = answer(bytes(1000))
    assert len(await get(site.url(), most=1000)) == 1000
    assert await failure(site.url(), most=999) == "larger than 999 bytes"


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, piece: bytes) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    while True:
        writer.write(piece)
        await writer.drain()


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", bytes(65536)),
    ],
    ids=["until it closes", "in chunks", "as long as it says"],
)
async def test_a_body_without_end_is_given_up_at_the_limit(head: bytes, piece: bytes):
    async with listening(lambda reader, writer: endless(reader, writer, head, piece)) as port:
        assert await failure(f"http://127.0.0.1:{port}/", most=100_000) == "larger than 100000 bytes"


async def test_a_length_that_says_less_than_comes_gives_no_more_than_it_says(site: Site):
    site.answers["/picture.png"] = answer(bytes(5000), Content_Length="10")
    assert len(await get(site.url(), most=100)) == 10


async def test_a_body_shorter_than_it_says_is_no_answer(site: Site):
    site.answers["/picture.png"] = answer(PICTURE, Content_Length=str(len(PICTURE) + 1))
    assert await failure(site.url()) == "not an HTTP answer"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "nonsense"])
async def test_a_compressed_body_is_not_opened(site: Site, encoding: str):
    site.answers["/picture.png"] = answer(PICTURE, Content_Encoding=encoding)
    assert await failure(site.url()) == "the answer is compressed"


async def test_a_site_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch):
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)

    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.4)
    async with listening(speak) as port, asyncio.timeout(20):
        assert await failure(f"http://127.0.0.1:{port}/") == "timed out"


async def test_all_hops_together_have_the_time_of_one(site: Site, monkeypatch: pytest.MonkeyPatch):
    async def slowly(host: str, port: int) -> Iterable[str]:
        await asyncio.sleep(0.3)
        return ["127.0.0.1"]

    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.5)
    site.answers["/moved"] = redirect(site.url(host="b.example.com"))
    assert await failure(site.url("/moved", "a.example.com"), resolve=slowly) == "timed out"


async def test_no_proxy_and_no_cookie(site: Site, monkeypatch: pytest.MonkeyPatch):
    async with serving({}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        site.answers["/moved"] = answer(b"", "302 Found", Location="/picture.png", Set_Cookie="session=secret")
        assert await get(site.url("/moved")) == PICTURE
        assert proxy.asked == []
    assert b"cookie" not in site.asked[1].lower()
    assert b"referer" not in site.asked[1].lower()


async def test_the_type_that_a_site_says_is_not_believed(site: Site, database: Database, tmp_path: Path):
    uploads = Uploads(database, AssetStore((tmp_path / "library").as_uri()))
    async with client(LOOPBACK) as opened:
        references = References(uploads, opened, LOOPBACK)
        site.answers["/true"] = answer(plain("red", "JPEG"), Content_Type="text/html")
        job = sdxl_pb2.SdxlJob()
        job.metadata.reference_image_url = site.url("/true")
        await decided_later(references.resolve(job, "ann", permitted=True))
        assert job.references.image.width == 24
        for body in (b"<html>", encoded_gif(), png_of(60000, 60000)):
            site.answers["/false"] = answer(body, Content_Type="image/png")
            job = sdxl_pb2.SdxlJob()
            job.metadata.reference_image_url = site.url("/false")
            with pytest.raises(ReferenceUnusable, match=r"metadata.reference_image_url: this file (is no|has more)"):
                await decided_later(references.resolve(job, "ann", permitted=True))
    uploads.close()


@pytest.mark.parametrize(("length", "why"), [(2**25, "not an HTTP answer"), (2**25 + 1, "larger than 33554432 bytes")])
async def test_a_reference_may_have_32_mib_and_no_more(site: Site, length: int, why: str):
    site.answers["/picture.png"] = answer(PICTURE, Content_Length=str(length))  # of which only the first few come
    job = sdxl_pb2.SdxlJob()
    job.metadata.reference_image_url = site.url()
    uploads = Uploads(Database(), AssetStore("memory:///library"))
    async with client(LOOPBACK) as opened:
        with pytest.raises(ReferenceUnusable, match=f"reference_image_url: could not be fetched: {why}$"):
            await decided_later(References(uploads, opened, LOOPBACK).resolve(job, "ann", permitted=True))
    uploads.close()


def encoded_gif() -> bytes:
    from PIL import Image

    return encoded(Image.new("RGB", (8, 8)), "GIF")


def test_there_are_many_ways_in():
    assert len(set(FORBIDDEN)) + len(INSIDE) > 140
