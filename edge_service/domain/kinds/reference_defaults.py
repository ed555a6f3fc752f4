"""Setting what a job says of its pictures, with the decision that tells of it: for images and videos alike."""

from collections.abc import Sequence

from google.protobuf.message import Message

from edge_service.domain.decisions import decision
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2

DEFAULT_STRENGTH = 0.5


def set_number(
    message: Message, path: str, field: str, value: float, why: str, decisions: list[edge_pb2.Decision]
) -> None:
    """Sets a number; a decision tells of it unless it was the same."""
    old = f"{getattr(message, field):g}" if message.HasField(field) else ""
    if old != f"{value:g}":
        decisions.append(decision(f"{path}.{field}", old, f"{value:g}", why))
    setattr(message, field, value)


def default_strength(metadata: sdxl_pb2.SdxlMetadata | wan_pb2.WanMetadata, decisions: list[edge_pb2.Decision]) -> None:
    """Sets how much of a picture is kept, where nobody has said it."""
    if not metadata.HasField("reference_strength"):
        set_number(metadata, "metadata", "reference_strength", DEFAULT_STRENGTH, "default of a reference", decisions)


def refuse_idle(fields: Sequence[str]) -> None:
    """Refuses the fields that steer a picture where there is none. Raises InvalidRequest if there are any."""
    if fields:
        raise InvalidRequest(*(Violation(field, "has no effect without a reference picture") for field in fields))
