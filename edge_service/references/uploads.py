"""Uploads: pictures that an owner sent, or that were fetched for one. The same bytes are stored once for an owner.

A row comes before its file and is hidden until the file is there: `deleted` then lies in the future. Whatever is cut
short in between is removed by housekeeping when that time has come. While a row is there, its key is not used for
another file, so that a late removal of the old one cannot hit it.
"""

import hashlib
from typing import NamedTuple

from atelier.contracts.errors import AssetNotFound
from atelier.pb.job.v1 import job_pb2
from edge_service.accounts.quotas import Accounts
from edge_service.adapters.database import Database, Row, fetch_all
from edge_service.adapters.limiter import PerOwnerLimiter
from edge_service.references.sandbox import MAX_BYTES, Decoders, InvalidImage, Picture
from shared.assets import AssetStore

# How many pictures are in memory at once, of everyone and of one owner; the others wait.
MAX_CONCURRENT, MAX_PER_OWNER = 8, 2
# Characters of the SHA-256 that are in a key.
DIGITS = 32

FIND = """
SELECT * FROM assets WHERE owner = %(owner)s AND source_sha256 = %(source)s AND deleted IS NULL
ORDER BY created DESC LIMIT 1"""
OF_KEY = "SELECT * FROM assets WHERE owner = %(owner)s AND key = %(key)s AND deleted IS NULL"
# Deleted or given up, and not removed yet.
GONE = "SELECT key FROM assets WHERE owner = %(owner)s AND source_sha256 = %(source)s AND deleted <= now()"
BEGIN = """
INSERT INTO assets (key, owner, type, mime_type, bytes, sha256, source_sha256, width, height, deleted)
VALUES (%(key)s, %(owner)s, 'image', 'image/png', %(bytes)s, %(sha256)s, %(source)s, %(width)s, %(height)s,
    now() + interval '10 minutes')
ON CONFLICT (key) DO UPDATE SET deleted = excluded.deleted WHERE assets.deleted > now() RETURNING key"""
SHOW = "UPDATE assets SET deleted = NULL, created = now() WHERE key = %(key)s AND deleted > now() RETURNING key"


class Source(NamedTuple):
    """What becomes an upload: whose it is, and the SHA-256 of the bytes as they came, 64 hexadecimal digits."""

    owner: str
    sha256: str


class Uploads:
    """Keeps uploaded pictures, each decoded and encoded anew before it is stored."""

    def __init__(self, database: Database, assets: AssetStore) -> None:
        self._database, self._assets, self._decoders = database, assets, Decoders()
        self.check_storage = Accounts(database).check_storage
        self.limiter = PerOwnerLimiter(MAX_CONCURRENT, MAX_PER_OWNER)
        """A permit to take the bytes of one upload into memory: so many at once."""

    def close(self) -> None:
        self._decoders.close()

    async def find(self, source: Source) -> job_pb2.Reference | None:
        """What these bytes became; None if they are not stored."""
        rows = await self._rows(FIND, owner=source.owner, source=source.sha256)
        return _reference(rows[0]) if rows else None

    async def of_key(self, owner: str, key: str) -> job_pb2.Reference:
        """The upload that has a key, or that becomes of the job's picture that has it.

        Raises AssetNotFound, also for a key of another owner, InvalidImage, StorageUnavailable.
        """
        row = next(iter(await self._rows(OF_KEY, owner=owner, key=key)), None)
        if row is None:
            raise AssetNotFound("no asset with this key belongs to you")
        if row["source_sha256"]:
            return _reference(row)
        if row["type"] != "image" or row["bytes"] > MAX_BYTES:
            raise InvalidImage(f"is no picture of at most {MAX_BYTES} bytes")
        if found := await self.find(Source(owner, row["sha256"])):
            return found
        data = await self._assets.read(key)
        return await self.keep(Source(owner, hashlib.sha256(data).hexdigest()), data)

    async def key(self, source: Source) -> str:
        """The key that these bytes get: `{owner}/upload_{sha256[:32]}/image_0.png`."""
        gone = await self._rows(GONE, owner=source.owner, source=source.sha256)
        number = max((_number(row["key"]) + 1 for row in gone), default=0)
        return f"{source.owner}/upload_{source.sha256[:DIGITS]}/image_{number}.png"

    async def keep(self, source: Source, data: bytes, key: str = "") -> job_pb2.Reference:
        """Stores a picture, under `key` if it was promised one, and returns what became of it.

        Raises InvalidImage, StorageUnavailable, and AssetNotFound if the key was deleted since it was promised.
        """
        if found := await self.find(source):
            return found
        picture = await self._decoders.safe(data)
        await self._store(source, key or await self.key(source), picture)
        if found := await self.find(source):
            return found
        raise AssetNotFound("this upload was deleted meanwhile; begin again with CreateUpload")

    async def _store(self, source: Source, key: str, picture: Picture) -> None:
        begun = await self._rows(
            BEGIN, key=key, owner=source.owner, source=source.sha256, bytes=len(picture.png), sha256=picture.sha256,
            width=picture.width, height=picture.height,
        )  # fmt: skip
        if begun:  # else another call has stored it, or it was deleted
            await self._assets.put(key, picture.png)
            await self._rows(SHOW, key=key)

    async def _rows(self, query: str, **values: object) -> list[Row]:
        async with self._database.connection() as connection:
            return await fetch_all(connection, query, values)


def _number(key: str) -> int:
    return int(key.rpartition("_")[2].removesuffix(".png"))


def _reference(row: Row) -> job_pb2.Reference:
    return job_pb2.Reference(key=row["key"], sha256=row["sha256"], width=row["width"], height=row["height"])
