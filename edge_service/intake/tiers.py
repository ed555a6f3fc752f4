"""The table of tiers in `policies/tiers.yaml`: how urgent whose jobs are, and how many of them may be queued."""

from typing import NamedTuple

from pydantic import Field, model_validator

from edge_service.policy import Strict, policy
from shared.errors import PermissionDenied


class RequestPriority(Strict):
    """What a request may add to the priority of its tier."""

    least: int = Field(ge=-10, le=0)
    most: int = Field(ge=0, le=10)


class Limits(NamedTuple):
    """Most queued jobs: of one user, of one user and job type, and of everyone for one worker type."""

    of_user: int
    of_type: int
    of_all: int


class Tier(Strict):
    """What holds for the jobs of one tier's users."""

    priority: int = Field(ge=-1000, le=1000)
    request_priority: RequestPriority
    max_queued: int = Field(ge=1)
    max_queued_by_type: int = Field(ge=1)
    max_turns: int = Field(ge=1)

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

    @model_validator(mode="after")
    def _has_tiers(self) -> "Tiers":
        if not self.tiers:
            raise ValueError("tiers: name at least one")
        return self

    def limits(self, name: str) -> Limits:
        """The limits of one tier."""
        tier = self.tiers[name]
        return Limits(tier.max_queued, tier.max_queued_by_type, self.max_queued_by_all)

    def turns(self, name: str) -> Limits:
        """The limits of interactive turns of one tier: `of_user` counts those that run."""
        return self.limits(name)._replace(of_user=self.tiers[name].max_turns)


def tiers() -> Tiers:
    """The table that is in force."""
    return policy("tiers", Tiers)
