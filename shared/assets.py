"""The asset store: a folder or a bucket, through obstore. Keys are stored, URLs are made on read.

The last part of the store's address is the bucket: `file:///var/lib/atelier/user-library`, `s3://user-library`.
A key is `{user_id}/{job_id}/{asset_type}_{index}.{extension}`. The second and later attempts of a job store under
`{user_id}/{job_id}.{attempt}/`: whatever one does late, or takes back, is never what another stored.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from atelier.contracts.errors import AssetNotFound, StorageUnavailable
from atelier.contracts.media_types import JPEG, MP4, PNG, UNKNOWN, WEBP, Media, sniff

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
# Seconds between the tries to store a file. What was made cost minutes of a GPU: a store that is away for a moment must
# not cost it.
UPLOAD_WAITS = (0.25, 0.5, 1.0, 2.0, 4.0)
# A bucket's own retries within each of them.
BUCKET_RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,254}(/[A-Za-z0-9][A-Za-z0-9._@-]{0,254})+")


@dataclass(frozen=True)
class Stored:
    """One object in the store. `sha256` has 64 hexadecimal digits."""

    key: str
    media: Media
    bytes: int
    sha256: str


def media_of_key(key: str) -> Media:
    """What a key of ours names. Its extension was written from the bytes."""
    return next((media for media in (PNG, JPEG, WEBP, MP4) if key.endswith(f".{media.extension}")), UNKNOWN)


def attempt_folder(user_id: str, job_id: str, attempt: int) -> str:
    """Where one attempt of a job stores its files, with the slash. Attempts count from 1; 0 stands for 1."""
    return f"{user_id}/{job_id}/" if attempt <= 1 else f"{user_id}/{job_id}.{attempt}/"


class AssetStore:
    """A folder or bucket of assets, shared by the workers that write and the edge that reads."""

    def __init__(self, url: str) -> None:
        """Raises ValueError, naming the address, if no store can be opened there."""
        self._cleaning = set[asyncio.Future[None]]()
        parts = urlsplit(url)
        self.bucket = parts.path.rstrip("/").rpartition("/")[2] or parts.netloc
        self.is_local = parts.scheme == "file"
        self._root = Path(url2pathname(parts.path)) if self.is_local else None
        try:
            self._store = from_url(url, **_options(parts.scheme))  # type: ignore[call-overload]
        except (BaseError, ValueError, OSError) as error:
            raise ValueError(f"cannot open the asset store {url}: {str(error).splitlines()[0]}") from None

    async def put_all(self, user_id: str, job_id: str, attempt: int, files: Sequence[bytes]) -> list[Stored]:
        """Stores the files of one attempt of a job, numbered in order. All are stored or none is left.

        Tries again for some seconds while the store is away, then raises StorageUnavailable.
        """
        folder = attempt_folder(user_id, job_id, attempt)
        stored = [_name(folder, index, data) for index, data in enumerate(files)]
        unwanted = asyncio.Event()
        writing = asyncio.ensure_future(self._put_each(stored, files, unwanted))
        try:
            await asyncio.shield(writing)
        except BaseException:
            unwanted.set()
            # No caller waits for these, and their keys were never told: leave nothing behind.
            cleaning = asyncio.ensure_future(self._take_back(writing, stored))
            self._cleaning.add(cleaning)
            cleaning.add_done_callback(self._cleaning.discard)
            await asyncio.shield(cleaning)
            raise
        return stored

    async def put(self, key: str, data: bytes) -> None:
        """Stores one object under a key of ours, in place of what may be there. Raises as `put_all` does."""
        try:
            await self._put(_known(key), data, asyncio.Event())
        except (BaseError, OSError):
            raise StorageUnavailable("the asset store could not be written") from None

    async def read(self, key: str) -> bytes:
        """The bytes of one object, in one request. Raises AssetNotFound."""
        try:
            return bytes(await (await obstore.get_async(self._store, _known(key))).bytes_async())
        except FileNotFoundError:
            raise AssetNotFound(f"no asset {key}") from None
        except (BaseError, OSError):
            raise StorageUnavailable("the asset store could not be read") from None

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yields an object, or its bytes from `start` to before `end`, in chunks of at most 256 KiB."""
        size = await self.size(key)
        try:
            stop = size if end is None else min(end, size)
            for offset in range(start, stop, CHUNK_BYTES):
                last = min(offset + CHUNK_BYTES, stop)
                yield bytes(await obstore.get_range_async(self._store, key, start=offset, end=last))
        except (FileNotFoundError, ValueError):
            raise AssetNotFound(f"no asset {key}") from None
        except (BaseError, OSError):
            raise StorageUnavailable("the asset store could not be read") from None

    async def size(self, key: str) -> int:
        """Bytes of one object. Raises AssetNotFound."""
        try:
            return int((await obstore.head_async(self._store, _known(key)))["size"])
        except (FileNotFoundError, ValueError):
            raise AssetNotFound(f"no asset {key}") from None
        except (BaseError, OSError):
            raise StorageUnavailable("the asset store could not be read") from None

    async def sign(self, key: str, lifetime_seconds: int) -> str:
        """A URL for one object, signed by the bucket itself. A local folder has none."""
        lifetime = timedelta(seconds=lifetime_seconds)
        return await obstore.sign_async(self._store, "GET", _known(key), lifetime)

    async def delete(self, *keys: str) -> None:
        """Removes objects; one that is not there is no error."""
        for key in keys:
            try:
                await obstore.delete_async(self._store, _known(key))
            except (FileNotFoundError, AssetNotFound):
                continue
            except (BaseError, OSError):
                raise StorageUnavailable("the asset store could not be written") from None

    async def discard(self, folder: str) -> int:
        """Removes all that is in an attempt's folder, also what a writer that died left half written.

        Returns the number of files. Raises StorageUnavailable.
        """
        if not KEY.fullmatch(folder.rstrip("/")):
            return 0  # nothing can have been stored there
        try:
            if self._root is not None:  # a listing would not name what is half written
                return await asyncio.to_thread(_remove_tree, self._root / folder)
            pages = [page async for page in obstore.list(self._store, folder)]
        except (BaseError, OSError):
            raise StorageUnavailable("the asset store could not be read") from None
        keys = [found["path"] for page in pages for found in page]
        await self.delete(*keys)
        return len(keys)

    async def _put_each(self, stored: Sequence[Stored], files: Sequence[bytes], unwanted: asyncio.Event) -> None:
        puts = (self._put(one.key, data, unwanted) for one, data in zip(stored, files, strict=True))
        ended = await asyncio.gather(*puts, return_exceptions=True)
        if any(isinstance(outcome, BaseException) for outcome in ended):
            raise StorageUnavailable("the asset store could not be written")

    async def _put(self, key: str, data: bytes, unwanted: asyncio.Event) -> None:
        for seconds in UPLOAD_WAITS:
            try:
                await obstore.put_async(self._store, key, data)
                return
            except (BaseError, OSError):
                log.warning("a file could not be stored; trying again", extra={"wait_seconds": seconds})
                if await _is_set_within(seconds, unwanted):
                    raise
        await obstore.put_async(self._store, key, data)

    async def _take_back(self, writing: "asyncio.Future[None]", stored: Sequence[Stored]) -> None:
        """Deletes files once their writing has ended, for a write that was given up may still land."""
        await asyncio.wait({writing})
        for one in stored:
            with contextlib.suppress(StorageUnavailable):
                await self.delete(one.key)


async def _is_set_within(seconds: float, event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _options(scheme: str) -> dict[str, object]:
    if scheme == "file":
        return {"mkdir": True, "automatic_cleanup": True}  # no empty folder stays where a file was deleted
    return {} if scheme == "memory" else {"retry_config": BUCKET_RETRIES}


def _remove_tree(folder: Path) -> int:
    files = sum(path.is_file() for path in folder.rglob("*"))
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    return files


def _name(folder: str, index: int, data: bytes) -> Stored:
    media = sniff(data)
    key = f"{folder}{media.asset_type}_{index}.{media.extension}"
    return Stored(_known(key), media, len(data), hashlib.sha256(data).hexdigest())


def _known(key: str) -> str:
    """The key, if it is one of ours: plain names joined by slashes, never a way out of the store."""
    if not KEY.fullmatch(key):
        raise AssetNotFound(f"no asset {key}")
    return key
