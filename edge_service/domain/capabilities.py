"""Can the connected models do what is asked? Checked against what the workers said of themselves, not a copy of it."""

from collections.abc import Sequence

from edge_service.domain.job_types import WorkerJob
from shared.errors import CapabilityMissing, InvalidRequest, Violation
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.pb.atelier.worker.v1 import worker_pb2
from shared.validation_schemas import enum_word
from shared.worker_configs import size_problem

# Fields that take an optional ability, each with what the names of such abilities begin with.
FIELDS = {
    **dict.fromkeys(("compel_enabled", "compel_weights"), "compel"),
    **dict.fromkeys(("config.image", "config.first_frame", "config.last_frame"), "reference_"),
    **dict.fromkeys(("metadata.reference_image_url", "metadata.reference_type"), "reference_"),
    **dict.fromkeys(("metadata.start_reference_url", "metadata.end_reference_url"), "reference_"),
    "metadata.reference_strength": "reference_",
}
# Fields whose every choice but "none" is an ability of its own, "reference_" and the choice.
CHOICES = ("metadata.reference_type", "config.reference_mode")


def check_capabilities(job: WorkerJob, models: Sequence[worker_pb2.Model]) -> None:
    """Raises InvalidRequest for a size, or CapabilityMissing for an ability, that none of `models` has.

    Without models (no worker has connected yet) nothing is checked here: the worker checks again.
    """
    if not models:
        return
    for wanted, field in _abilities(job):
        if not any(wanted in model.capabilities for model in models):
            kind = wanted.partition("_")[0]
            like_it = sorted({word for model in models for word in model.capabilities if word.startswith(f"{kind}_")})
            but = f", only {', '.join(like_it)}" if like_it else ""
            raise CapabilityMissing(f"{field}: no connected model can do {wanted}{but}")
    problems = [_size_problem(job, model) for model in models]
    if all(problems):
        raise InvalidRequest(next(problem for problem in problems if problem))


def needs(job: WorkerJob) -> list[str]:
    """What a worker must offer to get this job: names of models and abilities, as `Worker.offers` lists them."""
    if isinstance(job, chat_pb2.ChatRequest):
        return [enum_word("ChatModel", chat_pb2.ChatModel.Name(job.model))]
    return sorted({ability for ability, _ in _abilities(job)})


def able(field: str, models: Sequence[worker_pb2.Model]) -> bool:
    """Whether one of `models` can use a field: True for one that takes no optional ability."""
    wanted = FIELDS.get(field)
    return wanted is None or any(word.startswith(wanted) for model in models for word in model.capabilities)


def able_choices(field: str, choices: Sequence[str], models: Sequence[worker_pb2.Model]) -> list[str]:
    """Those of the choices of a field that one of `models` can use; all of them if it takes no optional ability."""
    if field not in CHOICES:
        return list(choices)
    abilities = {word for model in models for word in model.capabilities}
    return [choice for choice in choices if choice == "none" or f"reference_{choice}" in abilities]


def _abilities(job: WorkerJob) -> list[tuple[str, str]]:
    """The optional abilities a job needs, each with the field that asks for it."""
    needed: list[tuple[str, str]] = []
    if isinstance(job, sdxl_pb2.SdxlJob):
        if job.compel_enabled or job.compel_weights:
            needed.append(("compel", "compel_enabled" if job.compel_enabled else "compel_weights"))
        has_picture = job.metadata.reference_image_url or job.references.HasField("image")
        if has_picture or job.metadata.reference_type:
            kind = sdxl_pb2.ReferenceType.Name(job.metadata.reference_type or sdxl_pb2.REFERENCE_TYPE_COMPOSITION)
            is_asked = job.metadata.reference_type not in (0, sdxl_pb2.REFERENCE_TYPE_COMPOSITION)
            field = "reference_type" if is_asked or not has_picture else "reference_image_url"
            needed.append((f"reference_{enum_word('ReferenceType', kind)}", f"metadata.{field}"))
    if isinstance(job, wan_pb2.WanJob):
        mode = enum_word("WanReferenceMode", wan_pb2.WanReferenceMode.Name(job.config.reference_mode))
        if mode not in ("none", "unspecified"):
            needed.append((f"reference_{mode}", "config.reference_mode"))
        else:  # not steered yet
            needed.extend(("reference_single", field) for field in _reference_fields(job))
    return needed


def _reference_fields(job: wan_pb2.WanJob) -> list[str]:
    config = [f"config.{name}" for name in ("image", "first_frame", "last_frame") if getattr(job.config, name)]
    names = ("reference_image_url", "start_reference_url", "end_reference_url")
    return config + [f"metadata.{name}" for name in names if getattr(job.metadata, name)]


def _size_problem(job: WorkerJob, model: worker_pb2.Model) -> Violation | None:
    """What is wrong with the job's size for this model; None if nothing is."""
    if isinstance(job, sdxl_pb2.SdxlJob):
        width, height = (int(side) for side in job.config.resolution.split("x"))
        return _violation("config.resolution", size_problem(width, height, model))
    if isinstance(job, wan_pb2.WanJob):
        return _violation("config", size_problem(job.config.width, job.config.height, model))
    return None


def _violation(field: str, problem: str | None) -> Violation | None:
    return Violation(field, problem) if problem else None
