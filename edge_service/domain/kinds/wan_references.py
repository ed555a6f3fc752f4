"""Which pictures a video job begins and ends with: its reference mode, and where each picture is named."""

from typing import NamedTuple

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.validation import enum_word
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.decisions import decide
from edge_service.domain.kinds.kind import WantedReference
from edge_service.domain.kinds.reference_defaults import default_strength, refuse_idle

NONE, SINGLE, START, END, BOTH = (wan_pb2.WanReferenceMode.Value(f"WAN_REFERENCE_MODE_{word}")
                                  for word in ("NONE", "SINGLE", "START", "END", "BOTH"))  # fmt: skip


class Slot(NamedTuple):
    """Where a WAN job names a picture: the field, its fallback, the modes that use it and where it goes."""

    field: str
    fallback: str
    modes: tuple[int, ...]
    place: str


SLOTS = (
    Slot("image", "reference_image_url", (SINGLE,), "first"),
    Slot("first_frame", "start_reference_url", (START, BOTH), "first"),
    Slot("last_frame", "end_reference_url", (END, BOTH), "last"),
)


def resolve_video_references(job: wan_pb2.WanJob, asked: wan_pb2.WanJob) -> None:
    """Completes what `job` says of its pictures. Raises InvalidRequest for what contradicts itself or has no effect."""
    given = [slot for slot in SLOTS if named(job, slot)]
    if not asked.config.reference_mode and given:
        mode = _derived(given)
        _set_mode(job, mode, f"follows from {', '.join(_field(job, slot) for slot in given)}")
    if not job.config.reference_mode:
        _set_mode(job, NONE, "default")
    _refuse_mismatch(job, given)
    if job.config.reference_mode == NONE:
        if asked.metadata.HasField("reference_strength"):
            refuse_idle(["wan.metadata.reference_strength"])
        job.ClearField("metadata")
        return
    _drop_unused(job)
    default_strength(job.metadata)


def _derived(given: list[Slot]) -> int:
    """The mode that uses exactly the pictures that were given."""
    for mode in (SINGLE, START, END, BOTH):
        if given == [slot for slot in SLOTS if mode in slot.modes]:
            return mode
    says = "must be set where both one picture for the whole and frames are given"
    raise InvalidRequest(Violation("wan.config.reference_mode", says))


def _refuse_mismatch(job: wan_pb2.WanJob, given: list[Slot]) -> None:
    mode = job.config.reference_mode
    word, found = mode_word(mode), []
    for slot in SLOTS:
        if mode in slot.modes and slot not in given:
            found.append(Violation(f"wan.config.{slot.field}", f"is required by reference_mode {word}"))
        if slot in given and mode not in slot.modes and (mode == NONE or getattr(job.config, slot.field)):
            found.append(Violation(f"wan.{_field(job, slot)}", f"is not used by reference_mode {word}; leave it out"))
    if found:
        raise InvalidRequest(*found)


def _drop_unused(job: wan_pb2.WanJob) -> None:
    """Takes out the fallbacks that nothing falls back to, and says so."""
    for slot in SLOTS:
        is_used = job.config.reference_mode in slot.modes and not getattr(job.config, slot.field)
        if getattr(job.metadata, slot.fallback) and not is_used:
            job.metadata.ClearField(slot.fallback)
            decide(f"metadata.{slot.fallback}", "", "", "a fallback that is not needed")


def _set_mode(job: wan_pb2.WanJob, mode: int, why: str) -> None:
    before = mode_word(job.config.reference_mode) if job.config.reference_mode else ""
    decide("config.reference_mode", before, mode_word(mode), why)
    job.config.reference_mode = mode  # type: ignore[assignment]


def mode_word(mode: int) -> str:
    """The specification's word of a reference mode."""
    return enum_word("WanReferenceMode", wan_pb2.WanReferenceMode.Name(mode))


def _field(job: wan_pb2.WanJob, slot: Slot) -> str:
    return f"config.{slot.field}" if getattr(job.config, slot.field) else f"metadata.{slot.fallback}"


def named(job: wan_pb2.WanJob, slot: Slot) -> WantedReference | None:
    """The picture of a slot; None if the job names none."""
    value = getattr(job.config, slot.field) or getattr(job.metadata, slot.fallback)
    return WantedReference(_field(job, slot), value, slot.place) if value else None
