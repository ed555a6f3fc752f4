"""How explicit a request may be. Whatever is not said, or not known, is safe for work."""

from typing import Literal

from atelier.contracts.validation import enum_word
from atelier.pb.edge.v1 import edge_pb2

Mode = Literal["sfw", "nsfw"]
MODES: dict[Mode, "edge_pb2.ContentMode"] = {
    "sfw": edge_pb2.CONTENT_MODE_SFW,
    "nsfw": edge_pb2.CONTENT_MODE_NSFW,
}


def mode_word(mode: "edge_pb2.ContentMode") -> Mode:
    """The mode as policies write it. What is not known to be allowed is safe for work."""
    return "nsfw" if mode == edge_pb2.CONTENT_MODE_NSFW else "sfw"


def asked_mode_word(mode: "edge_pb2.ContentMode") -> str:
    """The mode that a request names, as the specification's word; empty for none."""
    return enum_word("ContentMode", edge_pb2.ContentMode.Name(mode)) if mode else ""


def strictest(*modes: "edge_pb2.ContentMode | Mode | str | int | None") -> Mode:
    """The strictest of some modes. No mode at all, an unset or an unknown one are SFW."""
    explicit = ("nsfw", edge_pb2.CONTENT_MODE_NSFW)
    return "nsfw" if modes and all(mode in explicit for mode in modes) else "sfw"
