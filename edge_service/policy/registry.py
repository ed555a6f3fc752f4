"""Every file of policy with its schema, and what must hold between files. A new file is one more line here."""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edge_service.intake.choices import Choices
from edge_service.intake.job_types import JobTypes
from edge_service.intake.tiers import Tiers
from edge_service.jobs.estimates.kinds import FirstGuesses
from edge_service.policy.folder import Gathered, gather
from edge_service.policy.mistakes import Mistake, PolicyRefused, Steps
from edge_service.policy.schema import Strict
from edge_service.policy.snapshot import Snapshot

SCHEMAS: dict[str, type[Strict]] = {
    "costs": FirstGuesses,
    "job_types": JobTypes,
    "presets": Choices,
    "tiers": Tiers,
}


class Misfit(NamedTuple):
    """A value that does not fit another file."""

    policy: str
    steps: Steps
    problem: str


def _presets_do_not_hide_job_types(policies: Snapshot) -> Iterator[Misfit]:
    """A job type is a preset of its own name, so no other preset can have it."""
    job_types = policies.table("job_types", JobTypes).job_types
    for name in policies.table("presets", Choices).presets:
        if name in job_types:
            yield Misfit("presets", ("presets", name), "is the name of a job type, which is a preset already")


CHECKS: tuple[Callable[[Snapshot], Iterator[Misfit]], ...] = (_presets_do_not_hide_job_types,)


def load(folder: str = "") -> Snapshot:
    """The policies of a folder over the built-in ones. Raises PolicyRefused with every mistake of every file."""
    return checked(gather(folder))


def checked(gathered: Gathered) -> Snapshot:
    """The files as a version that may be in force. Raises PolicyRefused."""
    snapshot, mistakes = Snapshot(gathered), [*gathered.mistakes, *_strangers(gathered)]
    for name, schema in SCHEMAS.items():
        try:
            snapshot.table(name, schema)
        except PolicyRefused as refused:
            mistakes += refused.mistakes
    for check in CHECKS:
        with contextlib.suppress(PolicyRefused):  # one of its files is refused already
            mistakes += [snapshot.mistake(*misfit) for misfit in check(snapshot)]
    if mistakes:
        raise PolicyRefused(mistakes)
    return snapshot


def _strangers(gathered: Gathered) -> Iterator[Mistake]:
    for name, file in gathered.files.items():
        if name not in SCHEMAS:
            known = ", ".join(f"{known}.yaml" for known in SCHEMAS)
            yield Mistake(file.path, 0, 0, "", f"is no file of policy; known: {known}")
