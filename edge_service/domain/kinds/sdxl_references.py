"""What an image job says of the picture it starts from: its use, how much of it is kept, how many steps that takes."""

from collections.abc import Iterator
from dataclasses import dataclass

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.validation import enum_word
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from edge_service.domain.decisions import decide
from edge_service.domain.kinds.reference_defaults import default_strength, refuse_idle, set_number

MIN_STEPS, MAX_STEPS = 10, 50


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


def resolve_image_reference(job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob, use: Use | None, enhancement: int) -> None:
    """Completes what `job` says of its picture. Raises InvalidRequest for what contradicts itself or has no effect."""
    if not job.metadata.reference_image_url:
        if idle := list(_idle(asked, use)):
            refuse_idle(idle)
        job.ClearField("metadata")
        return
    if use:
        _refuse_contradictions(asked, use, enhancement)
        _apply(job, use)
    default_strength(job.metadata)
    if not job.metadata.reference_type:
        job.metadata.reference_type = sdxl_pb2.REFERENCE_TYPE_COMPOSITION
        decide("metadata.reference_type", "", "composition", "default of a reference")
    # Rounded, or 1 - 0.9 would be a little less than 0.1, and ten steps of it less than one.
    job.references.denoise = round(1 - job.metadata.reference_strength, 6)
    decide("references.denoise", "", f"{job.references.denoise:g}", "1 - reference_strength")
    _ensure_a_step(job, asked)


def _idle(asked: sdxl_pb2.SdxlJob, use: Use | None) -> Iterator[str]:
    if use:
        yield "reference_use"
    if asked.metadata.HasField("reference_strength"):
        yield "sdxl.metadata.reference_strength"
    if asked.metadata.reference_type:
        yield "sdxl.metadata.reference_type"


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


def _apply(job: sdxl_pb2.SdxlJob, use: Use) -> None:
    why = f"reference_use {use.word}"
    set_number(job.metadata, "metadata", "reference_strength", round(1 - use.denoise, 6), why)
    set_number(job.config, "config", "guidance_scale", use.guidance_scale, why)
    if use.steps:
        set_number(job.config, "config", "steps", use.steps, why)
    job.metadata.ClearField("reference_type")  # a preset's: a use keeps the whole picture, as the default does
    if use.word == "exact_copy":
        # Words of presets and qualities, which are no secret; but no content goes into decisions.
        if job.config.negative_prompt:
            decide("config.negative_prompt", "", "", f"{why}: none")
        job.config.negative_prompt = ""


def _ensure_a_step(job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob) -> None:
    """Sees to it that at least one step is denoised: int(steps x denoise) steps are."""
    denoise, steps = job.references.denoise, job.config.steps
    if int(steps * denoise) >= 1:
        return
    fewest = next((n for n in range(MIN_STEPS, MAX_STEPS + 1) if int(n * denoise) >= 1), None)
    if fewest is None:
        says = f"must be at most {1 - 1 / MAX_STEPS:g}, or not one of {MAX_STEPS} steps would be denoised"
        given = f"{job.metadata.reference_strength:g}"
        raise InvalidRequest(Violation("sdxl.metadata.reference_strength", f"{says}, got {given}"))
    if asked.config.HasField("steps"):
        says = f"must be at least {fewest}, or not one would be denoised ({denoise:g} of them are), got {steps}"
        raise InvalidRequest(Violation("sdxl.config.steps", says))
    set_number(job.config, "config", "steps", fewest, f"at least one is denoised: {denoise:g} of them are")
