"""What a job says of its reference pictures, made whole and free of contradictions. Pure: nothing is fetched here.

`steer` runs after the presets and before the pictures are looked at (`references.py`). What a request says outright
goes before everything else; what it says without an effect, or against itself, is refused with the field's name.
"""

from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import Message

from edge_service.intake.job_types import WorkerJob
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import enum_word

DEFAULT_STRENGTH = 0.5
FEWEST_STEPS, MOST_STEPS = 10, 50
NONE, SINGLE, START, END, BOTH = (wan_pb2.WanReferenceMode.Value(f"WAN_REFERENCE_MODE_{word}")
                                  for word in ("NONE", "SINGLE", "START", "END", "BOTH"))  # fmt: skip


@dataclass(frozen=True)
class Use:
    """What a reference_use stands for. Its denoising is what is left of the reference's strength."""

    word: str
    denoise: float
    guidance_scale: float
    steps: int | None


USES = {
    edge_pb2.REFERENCE_USE_EXACT_COPY: Use("exact_copy", 0.05, 1.0, None),
    edge_pb2.REFERENCE_USE_MODIFY: Use("modify", 0.20, 6.0, 20),
}


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


class Wanted(NamedTuple):
    """A picture that a job names: by which field, as what, and where in `references` it goes."""

    field: str
    value: str
    place: str


def steer(
    job: WorkerJob, asked: WorkerJob, use: "edge_pb2.ReferenceUse" = edge_pb2.REFERENCE_USE_UNSPECIFIED,
    enhancement: "edge_pb2.Enhancement" = edge_pb2.ENHANCEMENT_UNSPECIFIED,
) -> list[edge_pb2.Decision]:  # fmt: skip
    """Completes `job`, which presets have filled; `asked` is the request's own. Raises InvalidRequest."""
    decisions: list[edge_pb2.Decision] = []
    if isinstance(job, sdxl_pb2.SdxlJob) and isinstance(asked, sdxl_pb2.SdxlJob):
        _steer_image(job, asked, USES.get(use), enhancement, decisions)
        return decisions
    if use:
        raise InvalidRequest(Violation("reference_use", "only image jobs (sdxl) have it"))
    if isinstance(job, wan_pb2.WanJob) and isinstance(asked, wan_pb2.WanJob):
        _steer_video(job, asked, decisions)
    return decisions


def wanted(job: WorkerJob) -> list[Wanted]:
    """The pictures that a steered job names, each of them once."""
    if isinstance(job, sdxl_pb2.SdxlJob) and job.metadata.reference_image_url:
        return [Wanted("metadata.reference_image_url", job.metadata.reference_image_url, "image")]
    if isinstance(job, wan_pb2.WanJob):
        used = [slot for slot in SLOTS if job.config.reference_mode in slot.modes]
        return [found for slot in used if (found := _named(job, slot))]
    return []


def clear_addresses(job: WorkerJob) -> None:
    """Takes the clients' words out of a job: a worker gets keys of pictures, never a URL."""
    if isinstance(job, sdxl_pb2.SdxlJob):
        job.metadata.ClearField("reference_image_url")
    if isinstance(job, wan_pb2.WanJob):
        for slot in SLOTS:
            job.config.ClearField(slot.field)
            job.metadata.ClearField(slot.fallback)


def reference_keys(job: WorkerJob) -> list[str]:
    """The keys of the pictures that a planned job was given."""
    if isinstance(job, sdxl_pb2.SdxlJob | wan_pb2.WanJob):
        pictures = (value for _, value in job.references.ListFields() if isinstance(value, job_pb2.Reference))
        return sorted({picture.key for picture in pictures})
    return []


def _steer_image(
    job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob, use: Use | None, enhancement: int,
    decisions: list[edge_pb2.Decision],
) -> None:  # fmt: skip
    if not job.metadata.reference_image_url:
        _refuse_idle("sdxl", asked, use)
        job.ClearField("metadata")
        return
    if use:
        _refuse_contradictions(asked, use, enhancement)
        _apply(job, asked, use, decisions)
    _default_strength(job.metadata, decisions)
    if not job.metadata.reference_type:
        job.metadata.reference_type = sdxl_pb2.REFERENCE_TYPE_COMPOSITION
        why = "default of a reference"
        decisions.append(edge_pb2.Decision(field="metadata.reference_type", to="composition", why=why))
    # Rounded, or 1 - 0.9 would be a little less than 0.1, and ten steps of it less than one.
    job.references.denoise = round(1 - job.metadata.reference_strength, 6)
    to, why = f"{job.references.denoise:g}", "1 - reference_strength"
    decisions.append(edge_pb2.Decision(field="references.denoise", to=to, why=why))
    _ensure_a_step(job, asked, decisions)


def _refuse_idle(worker: str, asked: sdxl_pb2.SdxlJob | wan_pb2.WanJob, use: Use | None = None) -> None:
    """Refuses what steers a picture where there is none."""
    fields = []
    if use:
        fields.append("reference_use")
    if asked.metadata.HasField("reference_strength"):
        fields.append(f"{worker}.metadata.reference_strength")
    if isinstance(asked, sdxl_pb2.SdxlJob) and asked.metadata.reference_type:
        fields.append(f"{worker}.metadata.reference_type")
    if fields:
        raise InvalidRequest(*(Violation(field, "has no effect without a reference picture") for field in fields))


def _refuse_contradictions(asked: sdxl_pb2.SdxlJob, use: Use, enhancement: int) -> None:
    """A use is a bundle of values: a request that names another one for any of them wants something else."""
    config, found = asked.config, []

    def expect(field: str, given: bool, value: object, right: object) -> None:
        if given and value != right:
            found.append(Violation(field, f"must be {right} or left out with reference_use {use.word}, got {value}"))

    strength = round(1 - use.denoise, 6)
    given = asked.metadata.HasField("reference_strength")
    expect("sdxl.metadata.reference_strength", given, round(asked.metadata.reference_strength, 6), strength)
    kind = asked.metadata.reference_type
    word = enum_word("ReferenceType", sdxl_pb2.ReferenceType.Name(kind))
    expect("sdxl.metadata.reference_type", bool(kind), word, "composition")
    expect("sdxl.config.guidance_scale", config.HasField("guidance_scale"), config.guidance_scale, use.guidance_scale)
    if use.steps:
        expect("sdxl.config.steps", config.HasField("steps"), config.steps, use.steps)
    if use.word == "exact_copy":
        if config.negative_prompt:
            found.append(Violation("sdxl.config.negative_prompt", "must be left out with reference_use exact_copy"))
        if enhancement == edge_pb2.ENHANCEMENT_ON:
            found.append(Violation("enhancement", "must be off or left out with reference_use exact_copy"))
    if found:
        raise InvalidRequest(*found)


def _apply(job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob, use: Use, decisions: list[edge_pb2.Decision]) -> None:
    why = f"reference_use {use.word}"
    _set(job.metadata, "metadata", "reference_strength", round(1 - use.denoise, 6), why, decisions)
    _set(job.config, "config", "guidance_scale", use.guidance_scale, why, decisions)
    if use.steps:
        _set(job.config, "config", "steps", use.steps, why, decisions)
    job.metadata.ClearField("reference_type")  # a preset's: a use keeps the whole picture, as the default does
    if use.word == "exact_copy":
        # Words of presets and qualities, which are no secret; but no content goes into decisions.
        if job.config.negative_prompt:
            decisions.append(edge_pb2.Decision(field="config.negative_prompt", to="", why=f"{why}: none"))
        job.config.negative_prompt = ""


def _ensure_a_step(job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob, decisions: list[edge_pb2.Decision]) -> None:
    """Sees to it that at least one step is denoised: int(steps x denoise) steps are."""
    denoise, steps = job.references.denoise, job.config.steps
    if int(steps * denoise) >= 1:
        return
    fewest = next((n for n in range(FEWEST_STEPS, MOST_STEPS + 1) if int(n * denoise) >= 1), None)
    if fewest is None:
        says = f"must be at most {1 - 1 / MOST_STEPS:g}, or not one of {MOST_STEPS} steps would be denoised"
        given = f"{job.metadata.reference_strength:g}"
        raise InvalidRequest(Violation("sdxl.metadata.reference_strength", f"{says}, got {given}"))
    if asked.config.HasField("steps"):
        says = f"must be at least {fewest}, or not one would be denoised ({denoise:g} of them are), got {steps}"
        raise InvalidRequest(Violation("sdxl.config.steps", says))
    _set(job.config, "config", "steps", fewest, f"at least one is denoised: {denoise:g} of them are", decisions)


def _steer_video(job: wan_pb2.WanJob, asked: wan_pb2.WanJob, decisions: list[edge_pb2.Decision]) -> None:
    given = [slot for slot in SLOTS if _named(job, slot)]
    if not asked.config.reference_mode and given:
        mode = _derived(given)
        _set_mode(job, mode, f"follows from {', '.join(_field(job, slot) for slot in given)}", decisions)
    if not job.config.reference_mode:
        _set_mode(job, NONE, "default", decisions)
    _refuse_mismatch(job, given)
    if job.config.reference_mode == NONE:
        _refuse_idle("wan", asked)
        job.ClearField("metadata")
        return
    _drop_unused(job, decisions)
    _default_strength(job.metadata, decisions)


def _derived(given: list[Slot]) -> int:
    """The mode that uses exactly the pictures that were given."""
    for mode in (SINGLE, START, END, BOTH):
        if given == [slot for slot in SLOTS if mode in slot.modes]:
            return mode
    says = "must be set where both one picture for the whole and frames are given"
    raise InvalidRequest(Violation("wan.config.reference_mode", says))


def _refuse_mismatch(job: wan_pb2.WanJob, given: list[Slot]) -> None:
    mode = job.config.reference_mode
    word, found = _mode_word(mode), []
    for slot in SLOTS:
        if mode in slot.modes and slot not in given:
            found.append(Violation(f"wan.config.{slot.field}", f"is required by reference_mode {word}"))
        if slot in given and mode not in slot.modes and (mode == NONE or getattr(job.config, slot.field)):
            found.append(Violation(f"wan.{_field(job, slot)}", f"is not used by reference_mode {word}; leave it out"))
    if found:
        raise InvalidRequest(*found)


def _drop_unused(job: wan_pb2.WanJob, decisions: list[edge_pb2.Decision]) -> None:
    """Takes out the fallbacks that nothing falls back to, and says so."""
    for slot in SLOTS:
        is_used = job.config.reference_mode in slot.modes and not getattr(job.config, slot.field)
        if getattr(job.metadata, slot.fallback) and not is_used:
            job.metadata.ClearField(slot.fallback)
            why = "a fallback that is not needed"
            decisions.append(edge_pb2.Decision(field=f"metadata.{slot.fallback}", to="", why=why))


def _default_strength(
    metadata: sdxl_pb2.SdxlMetadata | wan_pb2.WanMetadata, decisions: list[edge_pb2.Decision]
) -> None:
    if not metadata.HasField("reference_strength"):
        _set(metadata, "metadata", "reference_strength", DEFAULT_STRENGTH, "default of a reference", decisions)


def _set(message: Message, path: str, field: str, value: float, why: str, decisions: list[edge_pb2.Decision]) -> None:
    old = f"{getattr(message, field):g}" if message.HasField(field) else ""
    if old != f"{value:g}":
        decision = edge_pb2.Decision(field=f"{path}.{field}", to=f"{value:g}", why=why)
        setattr(decision, "from", old)
        decisions.append(decision)
    setattr(message, field, value)


def _set_mode(job: wan_pb2.WanJob, mode: int, why: str, decisions: list[edge_pb2.Decision]) -> None:
    decision = edge_pb2.Decision(field="config.reference_mode", to=_mode_word(mode), why=why)
    setattr(decision, "from", _mode_word(job.config.reference_mode) if job.config.reference_mode else "")
    decisions.append(decision)
    job.config.reference_mode = mode  # type: ignore[assignment]


def _mode_word(mode: int) -> str:
    return enum_word("WanReferenceMode", wan_pb2.WanReferenceMode.Name(mode))


def _field(job: wan_pb2.WanJob, slot: Slot) -> str:
    return f"config.{slot.field}" if getattr(job.config, slot.field) else f"metadata.{slot.fallback}"


def _named(job: wan_pb2.WanJob, slot: Slot) -> Wanted | None:
    value = getattr(job.config, slot.field) or getattr(job.metadata, slot.fallback)
    return Wanted(_field(job, slot), value, slot.place) if value else None
