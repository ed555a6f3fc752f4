"""An upload's life, with a real edge, its HTTP side and the client."""

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import grpc
import httpcore2
import psycopg
import pytest
from PIL import Image

from atelier import AsyncClient
from atelier.contracts.errors import AssetNotFound, InvalidRequest, QuotaExceeded, from_rpc_error
from atelier.errors import InvalidRequest as ClientInvalidRequest
from atelier.errors import ReferenceUnusable
from atelier.pb.edge.v1 import edge_pb2
from edge_service.adapters.database import Database
from edge_service.doors.http import uploads as receiving
from edge_service.queue.retention import Keep, Retention
from edge_service.references.uploads import Source, Uploads
from shared.assets import AssetStore
from tests.kit.edge import ANN, BOB, GUEST, Calls, StartEdge
from tests.kit.pictures import encoded, plain

PICTURE = plain("red", "JPEG")


@pytest.fixture
async def edge(start_edge: StartEdge) -> str:
    return (await start_edge()).address


@pytest.fixture
async def ann(edge: str) -> AsyncIterator[Calls]:
    async with grpc.aio.insecure_channel(edge) as opened:
        yield Calls(opened, ANN)


@pytest.fixture
async def bob(edge: str) -> AsyncIterator[Calls]:
    async with grpc.aio.insecure_channel(edge) as opened:
        yield Calls(opened, BOB)


async def create(caller: Calls, data: bytes = PICTURE, **changes: object) -> edge_pb2.CreateUploadResponse:
    said = {"mime_type": "image/jpeg", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **changes}
    return await caller.assets.CreateUpload(edge_pb2.CreateUploadRequest(**said), metadata=caller.metadata)


async def refusal(caller: Calls, **changes: object) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await create(caller, **changes)
    return from_rpc_error(raised.value)


async def http(method: str, url: str, body: bytes = b"", **headers: str) -> httpcore2.Response:
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    async with httpcore2.AsyncConnectionPool() as pool:
        return await pool.request(method, url, content=body, headers=given)


async def put(url: str, body: bytes = PICTURE) -> tuple[int, str]:
    """The status of a PUT, and the reason of its refusal."""
    answer = await http("PUT", url, body)
    plain = json.loads(answer.content)
    return answer.status, plain.get("error", {}).get("reason", "")


def changed(url: str, **changes: str) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"


async def get(caller: Calls, key: str) -> edge_pb2.Asset:
    return (await caller.assets.GetAsset(edge_pb2.GetAssetRequest(key=key), metadata=caller.metadata)).asset


async def delete(caller: Calls, key: str) -> None:
    await caller.assets.DeleteAsset(edge_pb2.DeleteAssetRequest(key=key), metadata=caller.metadata)


async def test_a_picture_is_announced_sent_and_there(ann: Calls, tmp_path: Path):
    opened = await create(ann)
    key = f"ann/upload_{hashlib.sha256(PICTURE).hexdigest()[:32]}/image_0.png"
    assert opened.asset.key == key
    with pytest.raises(grpc.aio.AioRpcError):
        await get(ann, key)
    answer = await http("PUT", opened.url, PICTURE)
    assert answer.status == 201
    assert json.loads(answer.content) == {"key": key, "width": 24, "height": 16}
    asset = await get(ann, key)
    stored = (tmp_path / "user-library" / key).read_bytes()
    assert (asset.mime_type, asset.bytes, asset.job_id) == ("image/png", len(stored), "")
    assert asset.sha256 == hashlib.sha256(stored).hexdigest()
    assert (await http("GET", asset.url)).content == stored
    listed = await ann.assets.ListAssets(edge_pb2.ListAssetsRequest(), metadata=ann.metadata)
    assert [found.key for found in listed.assets] == [key]


async def test_the_same_bytes_are_sent_once_and_each_owner_has_their_own(ann: Calls, bob: Calls):
    await put((await create(ann)).url)
    again = await create(ann)
    assert (again.url, again.asset.bytes > 0, again.asset.url != "") == ("", True, True)
    bobs = await create(bob)
    assert bobs.asset.key.startswith("bob/")
    assert bobs.url
    assert (await put(bobs.url))[0] == 201


async def test_a_put_that_is_sent_again_changes_nothing(ann: Calls):
    url = (await create(ann)).url
    answers = await asyncio.gather(*(put(url) for _ in range(5)))
    assert answers == [(201, "")] * 5
    listed = await ann.assets.ListAssets(edge_pb2.ListAssetsRequest(), metadata=ann.metadata)
    assert len(listed.assets) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mime_type": "image/gif"}, "mime_type"), ({"mime_type": "image/svg+xml"}, "mime_type"),
        ({"bytes": 0}, "bytes"), ({"bytes": 2**25 + 1}, "bytes"), ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"), ({"sha256": ""}, "sha256"),
    ],
)  # fmt: skip
async def test_what_could_never_become_an_upload_is_refused_at_once(ann: Calls, changes: dict[str, object], field: str):
    refused = await refusal(ann, **changes)
    assert isinstance(refused, InvalidRequest)
    assert [violation.field for violation in refused.violations] == [field]


async def test_who_may_not_use_pictures_uploads_none(edge: str):
    async with grpc.aio.insecure_channel(edge) as opened:
        assert "your tier, guest, lacks the permission references" in str(await refusal(Calls(opened, GUEST)))


async def test_who_keeps_as_much_as_they_may_uploads_no_more(ann: Calls, database_url: str):
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("INSERT INTO storage VALUES ('ann', 1000000000000)")
    error = await refusal(ann)
    assert isinstance(error, QuotaExceeded)
    assert error.limit == "storage_bytes"


async def test_urls_that_were_made_before_take_no_more_than_may_be_kept(ann: Calls, database_url: str):
    pictures = [plain(colour, "JPEG") for colour in ("red", "green", "blue")]
    first, second, third = [(await create(ann, picture)).url for picture in pictures]
    assert await put(first, pictures[0]) == (201, "")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("UPDATE storage SET bytes = 1000000000000")
        assert await put(second, pictures[1]) == (507, "QUOTA_EXCEEDED")
        assert await put(changed(second, storage="10000000000000"), pictures[1]) == (403, "PERMISSION_DENIED")
        await connection.execute("UPDATE storage SET bytes = 1000")
        assert await put(third, pictures[2]) == (201, "")


async def test_a_url_takes_the_bytes_that_were_announced_and_no_others(ann: Calls):
    url = (await create(ann)).url
    assert await put(url, PICTURE + b"a") == (400, "INVALID_REQUEST")
    assert await put(url, PICTURE[:-1]) == (400, "INVALID_REQUEST")
    assert await put(url, b"\0" * len(PICTURE)) == (400, "INVALID_REQUEST")
    assert await put(url, b"") == (400, "INVALID_REQUEST")
    wrong_type = (await create(ann, mime_type="image/png")).url
    assert await put(wrong_type) == (400, "INVALID_REQUEST")
    assert await put(url) == (201, "")


async def test_a_body_that_goes_on_beyond_what_was_announced_is_not_kept(ann: Calls):
    parts = urlsplit((await create(ann)).url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: edge\r\nContent-Length: {len(PICTURE)}\r\n"
    writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%b\r\n" % (len(PICTURE) + 1, PICTURE + b"a"))  # and no end
    answer = await asyncio.wait_for(reader.read(4096), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert f"body: must be {len(PICTURE)} bytes as announced, got more".encode() in answer


async def test_a_url_that_was_tampered_with_takes_nothing(ann: Calls, bob: Calls):
    url = (await create(ann)).url
    other = (await create(bob)).url
    signature = parse_qs(urlsplit(url).query)["signature"][0]
    tampered = [
        changed(url, signature=signature[:-1] + ("0" if signature[-1] != "0" else "1")), changed(url, signature=""),
        changed(url, signature="\xe9"), changed(url, expires="99999999999"), changed(url, expires="-1"),
        changed(url, expires="0"), changed(url, bytes=str(len(PICTURE) + 1)), changed(url, sha256="0" * 64),
        changed(url, mime_type="image/png"), url.replace("/ann/", "/bob/"), url.replace("/image_0", "/image_1"),
        url.replace("/ann/", "/ann/../bob/"), url.partition("?")[0], changed(other, signature=signature),
    ]  # fmt: skip
    for wrong in tampered:
        assert await put(wrong) == (403, "PERMISSION_DENIED"), wrong
    with pytest.raises(grpc.aio.AioRpcError):
        await get(ann, urlsplit(url).path.removeprefix("/user-library/"))


async def test_a_url_expires(ann: Calls, monkeypatch: pytest.MonkeyPatch):
    from edge_service.adapters import asset_urls

    monkeypatch.setattr(asset_urls, "LIFETIME_SECONDS", -1)
    assert await put((await create(ann)).url) == (403, "PERMISSION_DENIED")


async def test_a_url_to_read_is_none_to_write_and_the_other_way_round(ann: Calls):
    url = (await create(ann)).url
    assert (await http("GET", url)).status == 403
    assert await put(url) == (201, "")
    assert (await http("GET", url)).status == 403
    key = urlsplit(url).path.removeprefix("/user-library/")
    assert (await put((await get(ann, key)).url))[0] == 403
    for method in ("POST", "DELETE", "PATCH"):
        assert (await http(method, url)).status == 405


@pytest.mark.parametrize("data", [plain("red", "GIF"), b"<svg/>", plain("red")[:60], b"\x89PNG\r\n\x1a\n"])
async def test_what_is_no_picture_leaves_nothing_behind(ann: Calls, tmp_path: Path, data: bytes):
    opened = await create(ann, data, mime_type="image/png")
    assert await put(opened.url, data) == (422, "REFERENCE_UNUSABLE")
    listed = await ann.assets.ListAssets(edge_pb2.ListAssetsRequest(), metadata=ann.metadata)
    assert list(listed.assets) == []
    assert [path for path in (tmp_path / "user-library").rglob("*") if path.is_file()] == []


async def test_who_sends_too_slowly_is_told_so(ann: Calls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(receiving, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(receiving, "SLOWEST_BYTES_A_SECOND", 10**9)
    parts = urlsplit((await create(ann)).url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(PICTURE)}\r\n\r\n"
    writer.write(head.encode() + PICTURE[:10])
    answer = await asyncio.wait_for(reader.read(4096), 10)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"DEADLINE_EXCEEDED" in answer
    writer.close()


async def test_who_says_no_length_or_leaves_harms_nobody(ann: Calls):
    parts = urlsplit((await create(ann)).url)

    def sent(head: str, body: bytes) -> bytes:
        with socket.create_connection((parts.hostname, parts.port), 10) as opened:
            opened.sendall(f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: a\r\n{head}\r\n".encode() + body)
            return b"" if head.startswith("Content-Length") else opened.recv(4096)

    assert (await asyncio.to_thread(sent, "Transfer-Encoding: chunked\r\n", b"1\r\na\r\n")).startswith(b"HTTP/1.1 400 ")
    await asyncio.to_thread(sent, f"Content-Length: {len(PICTURE)}\r\n", PICTURE[:10])
    assert await put((await create(ann)).url) == (201, "")


async def test_a_browser_of_another_site_may_upload(ann: Calls):
    url = (await create(ann)).url
    asked = {"Origin": "https://studio.example", "Access_Control_Request_Method": "PUT"}
    allowed = dict((await http("OPTIONS", url, **asked)).headers)
    assert allowed[b"access-control-allow-origin"] == b"*"
    assert b"PUT" in allowed[b"access-control-allow-methods"]
    assert allowed[b"access-control-allow-headers"].lower() == b"content-type"
    for body in (PICTURE, b"a"):
        assert dict((await http("PUT", url, body)).headers)[b"access-control-allow-origin"] == b"*"


async def test_an_upload_that_was_deleted_can_be_sent_again(ann: Calls, tmp_path: Path):
    first = await create(ann)
    await put(first.url)
    await delete(ann, first.asset.key)
    assert await put(first.url) == (404, "ASSET_NOT_FOUND")
    second = await create(ann)
    assert second.asset.key == first.asset.key.replace("image_0", "image_1")
    assert await put(second.url) == (201, "")
    assert (await get(ann, second.asset.key)).bytes > 0
    assert not (tmp_path / "user-library" / first.asset.key).exists()


async def test_an_upload_that_was_cut_short_goes_with_housekeeping(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = AssetStore((tmp_path / "library").as_uri())
    uploads, source = Uploads(database, store), Source("ann", hashlib.sha256(PICTURE).hexdigest())
    rows = uploads._rows

    async def dying(query: str, **values: object):
        if query.startswith("UPDATE"):
            raise ConnectionError("the edge died here")
        return await rows(query, **values)

    monkeypatch.setattr(uploads, "_rows", dying)
    with pytest.raises(ConnectionError):
        await uploads.keep(source, PICTURE)
    monkeypatch.undo()
    assert await uploads.find(source) is None
    files = list((tmp_path / "library").rglob("*.png"))
    housekeeping = Retention(store, Keep(7, 30, 24))
    await housekeeping.round(database_url)
    assert [file.exists() for file in files] == [True]  # it could still be under way
    async with database.connection() as connection:
        await connection.execute("UPDATE assets SET deleted = now() - interval '1 second'")
    await housekeeping.round(database_url)
    assert [file.exists() for file in files] == [False]
    assert (await uploads.keep(source, PICTURE)).width == 24
    uploads.close()


async def test_uploads_go_after_a_week_and_used_ones_later(database: Database, database_url: str, tmp_path: Path):
    store = AssetStore((tmp_path / "library").as_uri())
    uploads = Uploads(database, store)
    kept = [
        await uploads.keep(Source("ann", hashlib.sha256(data).hexdigest()), data)
        for data in (plain("red"), plain("blue"))
    ]
    async with database.connection() as connection:
        await connection.execute("UPDATE assets SET created = now() - interval '8 days'")
        await connection.execute("UPDATE assets SET used = now() - interval '6 days' WHERE key = %s", [kept[1].key])
    await Retention(store, Keep(7, 30, 24)).round(database_url)
    with pytest.raises(AssetNotFound):
        await uploads.of_key("ann", kept[0].key)
    assert await uploads.of_key("ann", kept[1].key) == kept[1]
    assert await store.read(kept[1].key)
    uploads.close()


async def test_the_client_uploads_a_file_and_says_what_is_wrong_with_another(edge: str, tmp_path: Path):
    file, text, broken = tmp_path / "cat.jpg", tmp_path / "cat.txt", tmp_path / "cat.png"
    file.write_bytes(PICTURE)
    text.write_text("a cat")
    broken.write_bytes(encoded(Image.new("RGB", (64, 64), "red"))[:80])
    async with AsyncClient(edge, ANN) as client:
        key = await client.upload(file)
        assert key.startswith("ann/upload_")
        assert await client.upload(str(file)) == key
        with pytest.raises(ClientInvalidRequest, match="no PNG, JPEG or WEBP"):
            await client.upload(text)
        with pytest.raises(ReferenceUnusable, match="broken or cut off"):
            await client.upload(broken)
        with pytest.raises(FileNotFoundError):
            await client.upload(tmp_path / "nothing.png")
