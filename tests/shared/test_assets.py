"""The asset store on a real folder: atomic, tidy, and closed to keys that are not ours."""

import asyncio
import hashlib
import os
import re
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from atelier.contracts.errors import AssetNotFound, StorageUnavailable
from atelier.contracts.media_types import JPEG, MP4, PNG, WEBP, Media, sniff
from shared import assets as module
from shared.assets import CHUNK_BYTES, AssetStore, attempt_folder, media_of_key

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)
VIDEO = b"\0\0\0\x20ftypisom" + bytes(100)


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (PICTURE, PNG),
        (VIDEO, MP4),
        (b"\xff\xd8\xff\xe0" + bytes(20), JPEG),
        (b"RIFF\0\0\0\0WEBPVP8 ", WEBP),
    ],
)
def test_media_are_told_from_their_bytes(data: bytes, media: Media) -> None:
    assert sniff(data) == media


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"RIFF\0\0\0\0WAVE", b"<svg>", bytes(100)])
def test_bytes_of_no_known_kind_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no PNG, JPEG, WEBP or MP4"):
        sniff(data)


async def test_keys_are_laid_out_as_the_specification_says(assets: AssetStore, tmp_path: Path) -> None:
    stored = await assets.put_all("user123", "wan_video_fast_1734567890_def456", 1, [PICTURE, VIDEO])
    assert [one.key for one in stored] == [
        "user123/wan_video_fast_1734567890_def456/image_0.png",
        "user123/wan_video_fast_1734567890_def456/video_1.mp4",
    ]
    assert files_under(tmp_path / "user-library") == [one.key for one in stored]
    assert assets.bucket == "user-library"
    assert [media_of_key(one.key) for one in stored] == [PNG, MP4]


async def test_attempts_of_a_job_share_no_key(assets: AssetStore, tmp_path: Path) -> None:
    stored = {attempt: (await assets.put_all("user", "job", attempt, [PICTURE]))[0].key for attempt in (1, 2, 10)}
    assert list(stored.values()) == ["user/job/image_0.png", "user/job.2/image_0.png", "user/job.10/image_0.png"]
    assert all(key.startswith(attempt_folder("user", "job", attempt)) for attempt, key in stored.items())
    assert files_under(tmp_path / "user-library") == sorted(stored.values())
    assert attempt_folder("user", "job", 0) == attempt_folder("user", "job", 1)


async def test_an_attempt_that_is_cancelled_takes_nothing_of_another(assets: AssetStore, tmp_path: Path) -> None:
    await assets.put_all("user", "job", 1, [PICTURE] * 3)
    writing = asyncio.create_task(assets.put_all("user", "job", 2, [PICTURE + bytes(20_000_000)] * 3))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert files_under(tmp_path / "user-library") == [f"user/job/image_{i}.png" for i in range(3)]


class Faults:
    """Puts that fail: the first `times` of each key, before or after the object was stored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, stored_first: bool = False) -> None:
        self.tries: list[str] = []
        self._put, self._times, self._stored_first = obstore.put_async, times, stored_first
        monkeypatch.setattr(obstore, "put_async", self.put)

    async def put(self, store: object, key: str, data: bytes) -> None:
        self.tries.append(key)
        failing = self.tries.count(key) <= self._times
        if not failing or self._stored_first:
            await self._put(store, key, data)  # type: ignore[arg-type]
        if failing:
            raise GenericError("injected")


@pytest.mark.parametrize("stored_first", [False, True])
async def test_uploads_are_tried_again_while_the_store_is_away(
    assets: AssetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored_first: bool
) -> None:
    monkeypatch.setattr(module, "UPLOAD_WAITS", (0.01, 0.01, 0.01))
    faults = Faults(monkeypatch, times=3, stored_first=stored_first)
    stored = await assets.put_all("user", "job", 1, [PICTURE, VIDEO])
    assert files_under(tmp_path / "user-library") == [one.key for one in stored]
    assert len(faults.tries) == 8


async def test_tries_to_upload_are_bounded(assets: AssetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPLOAD_WAITS", (0.01, 0.01, 0.01))
    faults = Faults(monkeypatch, times=4, stored_first=True)
    with pytest.raises(StorageUnavailable):
        await assets.put_all("user", "job", 1, [PICTURE])
    assert len(faults.tries) == 4
    assert files_under(tmp_path) == []


async def test_a_cancelled_upload_is_not_tried_again(
    assets: AssetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UPLOAD_WAITS", (3600,))
    faults = Faults(monkeypatch, times=1)
    writing = asyncio.create_task(assets.put_all("user", "job", 1, [PICTURE]))
    while not faults.tries:
        await asyncio.sleep(0.001)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(writing, 10)
    assert len(faults.tries) == 1
    assert files_under(tmp_path) == []


async def test_a_discarded_attempt_leaves_the_others_and_other_jobs(assets: AssetStore, tmp_path: Path) -> None:
    for job, attempt in (("job", 1), ("job", 2), ("job2", 1), ("job", 22)):
        await assets.put_all("user", job, attempt, [PICTURE, VIDEO])
    assert await assets.discard(attempt_folder("user", "job", 2)) == 2
    assert await assets.discard(attempt_folder("user", "job", 2)) == 0
    left = {key.split("/")[1] for key in files_under(tmp_path / "user-library")}
    assert left == {"job", "job.22", "job2"}


async def test_what_a_dead_writer_left_half_written_is_discarded_with_its_folder(
    assets: AssetStore, tmp_path: Path
) -> None:
    await assets.put_all("user", "job", 2, [PICTURE])
    (tmp_path / "user-library/user/job.2/image_1.png#1").write_bytes(b"half")
    assert await assets.discard(attempt_folder("user", "job", 2)) == 2
    assert list((tmp_path / "user-library/user").iterdir()) == []


async def test_a_bucket_is_discarded_by_listing() -> None:
    assets = AssetStore("memory:///")
    for attempt in (1, 2):
        await assets.put_all("user", "job", attempt, [PICTURE, VIDEO])
    assert await assets.discard(attempt_folder("user", "job", 1)) == 2
    assert await assets.discard(attempt_folder("user", "job", 3)) == 0
    with pytest.raises(AssetNotFound):
        await assets.size("user/job/image_0.png")
    assert await assets.read("user/job.2/image_0.png") == PICTURE


@pytest.mark.parametrize("folder", ["", "/", "user/", "../secret/", "user/../", "/etc/", "user/job#1/"])
async def test_nothing_outside_the_folder_of_an_attempt_is_discarded(
    assets: AssetStore, tmp_path: Path, folder: str
) -> None:
    await assets.put_all("user", "job", 1, [PICTURE])
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_bytes(b"secret")
    assert await assets.discard(folder) == 0
    assert files_under(tmp_path) == ["secret/file", "user-library/user/job/image_0.png"]


async def test_no_empty_folder_stays_where_a_file_was_deleted(assets: AssetStore, tmp_path: Path) -> None:
    [stored] = await assets.put_all("user", "job", 1, [PICTURE])
    await assets.delete(stored.key)
    assert os.listdir(tmp_path / "user-library") == []


async def test_what_was_stored_is_described_and_read_back(assets: AssetStore) -> None:
    [stored] = await assets.put_all("user", "job", 1, [PICTURE])
    assert (stored.bytes, stored.sha256) == (len(PICTURE), hashlib.sha256(PICTURE).hexdigest())
    assert await assets.read(stored.key) == PICTURE
    assert await assets.size(stored.key) == len(PICTURE)


@pytest.mark.parametrize("size", [8, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
async def test_an_object_is_streamed_in_bounded_chunks(assets: AssetStore, size: int) -> None:
    data = PICTURE[:8] + os.urandom(size - 8)
    [stored] = await assets.put_all("user", "job", 1, [data])
    chunks = [chunk async for chunk in assets.stream(stored.key)]
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= CHUNK_BYTES


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 50), (50, None), (0, 10_000), (108, None)])
async def test_a_range_is_what_a_slice_is(assets: AssetStore, start: int, end: int | None) -> None:
    [stored] = await assets.put_all("user", "job", 1, [PICTURE])
    assert b"".join([chunk async for chunk in assets.stream(stored.key, start, end)]) == PICTURE[start:end]


async def test_one_file_of_no_known_kind_leaves_none_of_its_job(assets: AssetStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no PNG"):
        await assets.put_all("user", "job", 1, [PICTURE, b"rubbish"])
    assert files_under(tmp_path) == []


async def test_one_file_that_cannot_be_written_leaves_none_of_its_job(
    assets: AssetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UPLOAD_WAITS", (0.01,))
    (tmp_path / "user-library/user/job/image_1.png/in the way").mkdir(parents=True)
    with pytest.raises(StorageUnavailable):
        await assets.put_all("user", "job", 1, [PICTURE, PICTURE, PICTURE])
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("cancels", [1, 2])
@pytest.mark.parametrize("delay", [0, 0.0005, 0.005, 0.02, 0.05])
async def test_a_cancelled_job_leaves_nothing(assets: AssetStore, tmp_path: Path, delay: float, cancels: int) -> None:
    writing = asyncio.create_task(assets.put_all("user", "job", 1, [PICTURE + bytes(20_000_000)] * 3))
    await asyncio.sleep(delay)
    for _ in range(cancels):
        writing.cancel()
        await asyncio.sleep(0)
    ended = await asyncio.gather(writing, return_exceptions=True)
    if isinstance(ended[0], asyncio.CancelledError):
        if cancels > 1:  # the second cancel leaves the cleaning to itself
            async with asyncio.timeout(20):
                while files_under(tmp_path):
                    await asyncio.sleep(0.01)
        assert files_under(tmp_path) == []
    else:
        assert len(files_under(tmp_path)) == 3


async def test_nobody_sees_half_an_object(assets: AssetStore, tmp_path: Path) -> None:
    data = PICTURE + bytes(30_000_000)
    path = tmp_path / "user-library/user/job/image_0.png"
    writing = asyncio.create_task(assets.put_all("user", "job", 1, [data]))
    sizes = set()
    while not writing.done():
        await asyncio.sleep(0)
        if path.exists():
            sizes.add(path.stat().st_size)
    assert sizes <= {len(data)}


BAD_KEYS = [
    "../secret", "user/../../secret", "/etc/passwd", "", ".", "..", "user", "user/", "user//image_0.png",
    "%2e%2e/secret", "user/image_0.png\0", "user/./image_0.png", "user/image_0.png/", "user\\..\\secret", "a/" * 3000,
    "user/" + "a" * 300, "user/image_0.png#1", "user/image 0.png", "user/image_0.png\n", "\u2024\u2024/secret",
]  # fmt: skip


@pytest.mark.parametrize("key", [*BAD_KEYS, "user/job/image_7.png"])
async def test_a_key_that_is_not_there_or_not_ours_is_no_asset(assets: AssetStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    await assets.put_all("user", "job", 1, [PICTURE])
    for look in (assets.read, assets.size):
        with pytest.raises(AssetNotFound):
            await look(key)
    await assets.delete(key)
    assert files_under(tmp_path) == ["secret", "user-library/user/job/image_0.png"]


@pytest.mark.parametrize("user_id", ["..", "../..", "", ".hidden"])
async def test_nothing_is_written_outside_the_store(assets: AssetStore, tmp_path: Path, user_id: str) -> None:
    with pytest.raises(AssetNotFound):
        await assets.put_all(user_id, "job", 1, [PICTURE])
    assert files_under(tmp_path) == []


async def test_deleting_is_idempotent(assets: AssetStore, tmp_path: Path) -> None:
    [stored] = await assets.put_all("user", "job", 1, [PICTURE])
    await assets.delete(stored.key)
    await assets.delete(stored.key)
    assert files_under(tmp_path) == []


@pytest.fixture
def unwritable(tmp_path: Path) -> AssetStore:
    """A store whose folder became a file after it was opened."""
    store = AssetStore((tmp_path / "user-library").as_uri())
    (tmp_path / "user-library").rmdir()
    (tmp_path / "user-library").write_bytes(b"")
    return store


async def test_a_broken_store_is_unavailable(unwritable: AssetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPLOAD_WAITS", (0.01,))
    with pytest.raises(StorageUnavailable):
        await unwritable.put_all("user", "job", 1, [PICTURE])


@pytest.mark.parametrize("url", ["nonsense", "gopher://host/bucket", "", "file:///proc/nowhere/bucket"])
def test_an_address_of_no_store_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"cannot open the asset store {url}")):
        AssetStore(url)


@pytest.mark.parametrize("url", ["s3://user-library", "gs://user-library", "az://user-library"])
def test_the_bucket_is_the_last_part_of_the_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert AssetStore(url).bucket == "user-library"
