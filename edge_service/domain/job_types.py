"""The table of job types in `policies/job_types.yaml`: which worker executes each, and with which values."""

from functools import cached_property
from typing import Annotated, Any, Literal

from google.protobuf.message import Message
from pydantic import AfterValidator, Field, model_validator

from edge_service.domain.partial_job import JOB_CLASSES, WorkerJob, WorkerType, partial_job, values_that_fit
from edge_service.domain.seeds import draw_seeds
from edge_service.policy import Strict, policy, refused
from edge_service.policy.mistakes import Steps
from shared.errors import InvalidRequest
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import check, enum_words

__all__ = ["CHAT_TURN", "JOB_CLASSES", "TYPE_NAMES", "JobType", "JobTypes", "WorkerJob", "job_types"]

CHAT_TURN: Literal["chat_turn"] = "chat_turn"
# Every job type of the contracts, with its worker type. The table has all of them: a request may name any.
TYPE_NAMES: dict[str, str] = {
    **dict.fromkeys(enum_words(sdxl_pb2.SdxlJobType.DESCRIPTOR), "sdxl"),
    **dict.fromkeys(enum_words(wan_pb2.WanJobType.DESCRIPTOR), "wan"),
    CHAT_TURN: "chat",
}


class JobType(Strict):
    """One job type. `values` is a partial job in the specification's JSON; what it names fills what a request lacks."""

    worker_type: WorkerType
    enhanced: bool = False
    credits: int = Field(ge=0)
    values: Annotated[dict[str, Any], AfterValidator(values_that_fit)]

    def defaults(self) -> WorkerJob:
        """The values as a partial job message of the caller's own."""
        return partial_job(self.worker_type, self.values)

    @cached_property
    def filling(self) -> WorkerJob:
        """The same, read once; leave it as it is."""
        return self.defaults()


def _is_known(name: str) -> str:
    if name not in TYPE_NAMES:
        raise ValueError(f"is no job type of the contracts; known: {', '.join(TYPE_NAMES)}")
    return name


class JobTypes(Strict):
    """The whole table."""

    version: int
    job_types: dict[Annotated[str, AfterValidator(_is_known)], JobType]

    @model_validator(mode="after")
    def _has_all_complete(self) -> "JobTypes":
        problems: list[tuple[Steps, str]]
        problems = [((), f"{name} is missing") for name in TYPE_NAMES if name not in self.job_types]
        problems += [((name,), said) for name, entry in self.job_types.items() if (said := _problem(name, entry))]
        if problems:
            raise refused((("job_types", *steps), said) for steps, said in problems)
        return self


def _problem(name: str, job_type: JobType) -> str | None:
    """Why no worker would take a job with these values and nothing else; None if one would."""
    if job_type.worker_type != TYPE_NAMES[name]:
        return f"worker_type must be {TYPE_NAMES[name]}, got {job_type.worker_type}"
    try:
        check(_order(name, job_type))
    except InvalidRequest as error:
        return f"values: {error.message}"
    return None


def _order(name: str, job_type: JobType) -> Message:
    """What a worker would get for a request that names nothing but the type and what it is about."""
    about: dict[str, Any] = {"messages": [{"role": "user", "content": "check"}]}
    if name != CHAT_TURN:
        about = {"type": name, "prompt": "check", "id": "check", "user_id": "check"}
    job = partial_job(job_type.worker_type, {**job_type.values, **about})
    draw_seeds(job, [])
    if isinstance(job, chat_pb2.ChatRequest):
        return chat_pb2.GenerateRequest(job_id="check", user_id="check", request=job)
    if isinstance(job, sdxl_pb2.SdxlJob):
        return sdxl_pb2.GenerateRequest(job=job)
    return wan_pb2.GenerateRequest(job=job)


def job_types() -> dict[str, JobType]:
    """The table that is in force."""
    return policy("job_types", JobTypes).job_types
