"""The table in `policies/costs.yaml`: how long a unit of work takes until jobs have been measured."""

from pydantic import PositiveFloat, field_validator

from edge_service.domain.kinds import KINDS
from edge_service.policy import Strict, policy, refused
from edge_service.policy.mistakes import Steps


class FirstGuesses(Strict):
    """The whole table, in seconds per unit of `Workload.units`."""

    version: int
    seconds_per_unit: dict[str, PositiveFloat]

    @field_validator("seconds_per_unit")
    @classmethod
    def _has_every_worker_type(cls, guesses: dict[str, float]) -> dict[str, float]:
        problems: list[tuple[Steps, str]] = [((), f"{name} is missing") for name in KINDS if name not in guesses]
        known = ", ".join(KINDS)
        problems += [((name,), f"is no worker type; known: {known}") for name in guesses if name not in KINDS]
        if problems:
            raise refused(problems)
        return guesses


def first_guesses() -> FirstGuesses:
    """The table that is in force."""
    return policy("costs", FirstGuesses)
