"""Setting what a job says of its reference images, alike for images and videos."""

from collections.abc import Sequence

from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.decisions import decide

DEFAULT_STRENGTH = 0.5


def set_number(message: Message, path: str, field: str, value: float, why: str) -> None:
    """Sets a number; a decision records it unless it was the same."""
    old = f"{getattr(message, field):g}" if message.HasField(field) else ""
    if old != f"{value:g}":
        decide(f"{path}.{field}", old, f"{value:g}", why)
    setattr(message, field, value)


def default_strength(metadata: sdxl_pb2.SdxlMetadata | wan_pb2.WanMetadata) -> None:
    """Sets how much of a reference image is kept, where the request does not say it."""
    if not metadata.HasField("reference_strength"):
        set_number(metadata, "metadata", "reference_strength", DEFAULT_STRENGTH, "default of a reference")


def refuse_idle(fields: Sequence[str]) -> None:
    """Raises InvalidRequest for fields that steer a reference image where there is none."""
    raise InvalidRequest(*(Violation(field, "has no effect without a reference picture") for field in fields))
