"""What files are: the kinds that Atelier takes and makes, known by their first bytes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Media:
    """What bytes are: the specification's asset type, MIME type and file extension."""

    asset_type: str
    mime_type: str
    extension: str


PNG = Media("image", "image/png", "png")
JPEG = Media("image", "image/jpeg", "jpg")
WEBP = Media("image", "image/webp", "webp")
MP4 = Media("video", "video/mp4", "mp4")
UNKNOWN = Media("", "application/octet-stream", "")


def sniff(data: bytes) -> Media:
    """What the bytes are, from their first twelve. Raises ValueError for anything Atelier does not make."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        return MP4
    raise ValueError("these bytes are no PNG, JPEG, WEBP or MP4")
