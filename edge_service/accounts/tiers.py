"""The table of tiers in `policies/tiers.yaml`: what their users may do, how urgently, and how much of it."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StringConstraints, model_validator

from atelier.contracts.errors import PermissionDenied
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.job_types import JobType
from edge_service.policy import Strict, policy

# What a tier may allow besides job types.
ABILITIES = ("chat", "enhancement", "fleet", "keys", "nsfw", "references", "webhooks")
# A job type, or all of a worker; `*` stands for any letters of a job type.
Permission = Annotated[
    str, StringConstraints(pattern=rf"^({'|'.join(ABILITIES)}|job\.[a-z0-9_*]+|worker\.[a-z0-9_]+)$")
]
# The tier of the developer token: without it an operator would lock themselves out.
DEVELOPERS = "admin"
# What the tables count with.
MAX_INT, MAX_BIGINT = 2**31 - 1, 2**63 - 1


class RequestPriority(Strict):
    """What a request may add to the priority of its tier."""

    least: int = Field(ge=-10, le=0)
    most: int = Field(ge=0, le=10)


class Quotas(Strict):
    """How much one account may use. Every limit has a size: there is none without end."""

    requests_per_minute: int = Field(ge=1, le=MAX_INT)
    max_running: int = Field(ge=1, le=MAX_INT)
    jobs_per_day: int = Field(ge=1, le=MAX_INT)
    credits_per_period: int = Field(ge=1, le=MAX_BIGINT)
    period: Literal["day", "month"]
    storage_bytes: int = Field(ge=1, le=MAX_BIGINT)


class Limits(NamedTuple):
    """Most queued jobs: of one user, of one user and job type, and of everyone for one worker type; and the quotas."""

    of_user: int
    of_type: int
    of_all: int
    quotas: Quotas


class Tier(Strict):
    """What holds for the jobs of one tier's users. `name` is its key in the table."""

    name: str
    priority: int = Field(ge=-1000, le=1000)
    request_priority: RequestPriority
    max_queued: int = Field(ge=1)
    max_queued_by_type: int = Field(ge=1)
    max_turns: int = Field(ge=1)
    permissions: tuple[Permission, ...]
    quotas: Quotas

    def allows(self, ability: str) -> bool:
        """Whether it has one of ABILITIES."""
        return ability in self.permissions

    def allows_job(self, type_name: str, worker_type: str) -> bool:
        """Whether its users may ask for a job of this type."""
        asked = f"job.{type_name}", f"worker.{worker_type}"
        return any(fnmatchcase(name, allowed) for allowed in self.permissions for name in asked)

    @property
    def content_mode(self) -> "edge_pb2.ContentMode":
        """The most explicit content that its users may ask for."""
        return edge_pb2.CONTENT_MODE_NSFW if self.allows("nsfw") else edge_pb2.CONTENT_MODE_SFW

    def granted(self, job_types: Mapping[str, JobType]) -> list[str]:
        """Every permission by name: "job.sdxl_image_high" where the table says "job.*"."""
        jobs = [f"job.{name}" for name, entry in job_types.items() if self.allows_job(name, entry.worker_type)]
        return jobs + [ability for ability in ABILITIES if self.allows(ability)]

    def priority_of(self, requested: int) -> int:
        """The priority of a job. Raises PermissionDenied for a request that this tier does not allow."""
        allowed = self.request_priority
        if not allowed.least <= requested <= allowed.most:
            raise PermissionDenied(f"priority: your tier allows {allowed.least} to {allowed.most}, got {requested}")
        return self.priority + requested


class Tiers(Strict):
    """The whole table."""

    version: int
    ageing_seconds: float = Field(gt=0)
    max_queued_by_all: int = Field(ge=1)
    tiers: dict[str, Tier]

    @model_validator(mode="before")
    @classmethod
    def _name_tiers(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("tiers"), dict):
            return values
        entries = values["tiers"].items()
        named = {key: {**entry, "name": key} if isinstance(entry, dict) else entry for key, entry in entries}
        return {**values, "tiers": named}

    @model_validator(mode="after")
    def _has_tiers(self) -> "Tiers":
        if DEVELOPERS not in self.tiers:
            raise ValueError(f"tiers: {DEVELOPERS} is missing, which is the tier of the developer token")
        return self

    def limits(self, name: str) -> Limits:
        """The limits of one tier."""
        tier = self.tiers[name]
        return Limits(tier.max_queued, tier.max_queued_by_type, self.max_queued_by_all, tier.quotas)

    def turns(self, name: str) -> Limits:
        """The limits of interactive turns of one tier: `of_user` counts those that run."""
        return self.limits(name)._replace(of_user=self.tiers[name].max_turns)

    def idle_permissions(self, job_types: Mapping[str, JobType]) -> Iterable[tuple[str, str]]:
        """Permissions that allow no job type of the table, each with its tier: slips of the pen."""
        workers = {entry.worker_type for entry in job_types.values()}
        known = {f"job.{name}" for name in job_types} | {f"worker.{name}" for name in workers} | set(ABILITIES)
        for tier in self.tiers.values():
            for permission in tier.permissions:
                if not any(fnmatchcase(name, permission) for name in known):
                    yield tier.name, permission


def tiers() -> Tiers:
    """The table that is in force."""
    return policy("tiers", Tiers)
