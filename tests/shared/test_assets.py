"""The asset store on a real folder: atomic, tidy, and closed to keys that are not ours."""

import asyncio
import hashlib
import os
import re
from pathlib import Path

import pytest

from shared.assets import CHUNK_BYTES, JPEG, MP4, PNG, WEBP, AssetStore, Media, media_of_key, sniff
from shared.errors import AssetNotFound, StorageUnavailable

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
    stored = await assets.put_all("user123", "wan_video_fast_1734567890_def456", [PICTURE, VIDEO])
    assert [one.key for one in stored] == [
        "user123/wan_video_fast_1734567890_def456/image_0.png",
        "user123/wan_video_fast_1734567890_def456/video_1.mp4",
    ]
    assert files_under(tmp_path / "user-library") == [one.key for one in stored]
    assert assets.bucket == "user-library"
    assert [media_of_key(one.key) for one in stored] == [PNG, MP4]


async def test_what_was_stored_is_described_and_read_back(assets: AssetStore) -> None:
    [stored] = await assets.put_all("user", "job", [PICTURE])
    assert (stored.bytes, stored.sha256) == (len(PICTURE), hashlib.sha256(PICTURE).hexdigest())
    assert await assets.read(stored.key) == PICTURE
    assert await assets.size(stored.key) == len(PICTURE)


@pytest.mark.parametrize("size", [8, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
async def test_an_object_is_streamed_in_bounded_chunks(assets: AssetStore, size: int) -> None:
    data = PICTURE[:8] + os.urandom(size - 8)
    [stored] = await assets.put_all("user", "job", [data])
    chunks = [chunk async for chunk in assets.stream(stored.key)]
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= CHUNK_BYTES


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 50), (50, None), (0, 10_000), (108, None)])
async def test_a_range_is_what_a_slice_is(assets: AssetStore, start: int, end: int | None) -> None:
    [stored] = await assets.put_all("user", "job", [PICTURE])
    assert b"".join([chunk async for chunk in assets.stream(stored.key, start, end)]) == PICTURE[start:end]


async def test_one_file_of_no_known_kind_leaves_none_of_its_job(assets: AssetStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no PNG"):
        await assets.put_all("user", "job", [PICTURE, b"rubbish"])
    assert files_under(tmp_path) == []


async def test_one_file_that_cannot_be_written_leaves_none_of_its_job(assets: AssetStore, tmp_path: Path) -> None:
    (tmp_path / "user-library/user/job/image_1.png/in the way").mkdir(parents=True)
    with pytest.raises(StorageUnavailable):
        await assets.put_all("user", "job", [PICTURE, PICTURE, PICTURE])
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("cancels", [1, 2])
@pytest.mark.parametrize("delay", [0, 0.0005, 0.005, 0.02, 0.05])
async def test_a_cancelled_job_leaves_nothing(assets: AssetStore, tmp_path: Path, delay: float, cancels: int) -> None:
    writing = asyncio.create_task(assets.put_all("user", "job", [PICTURE + bytes(20_000_000)] * 3))
    await asyncio.sleep(delay)
    for _ in range(cancels):
        writing.cancel()
        await asyncio.sleep(0)
    ended = await asyncio.gather(writing, return_exceptions=True)
    await asyncio.sleep(0.1 if cancels > 1 else 0)  # the second cancel leaves the cleaning to itself
    if isinstance(ended[0], asyncio.CancelledError):
        assert files_under(tmp_path) == []
    else:
        assert len(files_under(tmp_path)) == 3


async def test_nobody_sees_half_an_object(assets: AssetStore, tmp_path: Path) -> None:
    data = PICTURE + bytes(30_000_000)
    path = tmp_path / "user-library/user/job/image_0.png"
    writing = asyncio.create_task(assets.put_all("user", "job", [data]))
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
    await assets.put_all("user", "job", [PICTURE])
    for look in (assets.read, assets.size):
        with pytest.raises(AssetNotFound):
            await look(key)
    await assets.delete(key)
    assert files_under(tmp_path) == ["secret", "user-library/user/job/image_0.png"]


@pytest.mark.parametrize("user_id", ["..", "../..", "", ".hidden"])
async def test_nothing_is_written_outside_the_store(assets: AssetStore, tmp_path: Path, user_id: str) -> None:
    with pytest.raises(AssetNotFound):
        await assets.put_all(user_id, "job", [PICTURE])
    assert files_under(tmp_path) == []


async def test_deleting_is_idempotent(assets: AssetStore, tmp_path: Path) -> None:
    [stored] = await assets.put_all("user", "job", [PICTURE])
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


async def test_a_broken_store_is_unavailable(unwritable: AssetStore) -> None:
    with pytest.raises(StorageUnavailable):
        await unwritable.put_all("user", "job", [PICTURE])


@pytest.mark.parametrize("url", ["nonsense", "gopher://host/bucket", "", "file:///proc/nowhere/bucket"])
def test_an_address_of_no_store_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"cannot open the asset store {url}")):
        AssetStore(url)


@pytest.mark.parametrize("url", ["s3://user-library", "gs://user-library", "az://user-library"])
def test_the_bucket_is_the_last_part_of_the_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert AssetStore(url).bucket == "user-library"
