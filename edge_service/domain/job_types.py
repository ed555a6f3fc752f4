"""The table of job types in `policies/job_types.yaml`: which worker executes each, and with which values."""

from functools import cached_property
from typing import Annotated, Any

from google.protobuf.message import Message
from pydantic import AfterValidator, Field, model_validator

from atelier.contracts.errors import InvalidRequest
from edge_service.domain.decisions import collecting
from edge_service.domain.kinds import KINDS, WorkerJob, WorkerType
from edge_service.domain.partial_job import partial_job, values_that_fit
from edge_service.policy import Strict, policy, refused
from edge_service.policy.mistakes import Steps
from shared.validation import check

# Every job type of the contracts, with its worker type. The table has all of them: a request may name any.
TYPE_NAMES = {name: kind.worker_type for kind in KINDS.values() for name in kind.type_names}


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
    kind = KINDS[job_type.worker_type]
    about = kind.sample() | ({"type": name} if kind.has_prompt else {})
    job = partial_job(job_type.worker_type, {**job_type.values, **about})
    with collecting():
        kind.draw_seeds(job)
    return kind.request(job, "check", "check")


def job_types() -> dict[str, JobType]:
    """The table that is in force."""
    return policy("job_types", JobTypes).job_types
