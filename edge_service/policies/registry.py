"""Every file of policy with its schema, and what must hold between files. A new file is one more line here."""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edge_service.accounts.tiers import Tiers
from edge_service.domain.job_types import JobTypes
from edge_service.moderation.rules import Content
from edge_service.planning.chat_contexts import Contexts
from edge_service.planning.enhancement_templates import Enhancement
from edge_service.planning.presets import Choices
from edge_service.policy.folder import Gathered, gather
from edge_service.policy.mistakes import Mistake, PolicyRefused, Steps
from edge_service.policy.schema import Strict
from edge_service.policy.snapshot import Snapshot
from edge_service.queue.estimates.first_guesses import FirstGuesses

SCHEMAS: dict[str, type[Strict]] = {
    "content": Content,
    "contexts": Contexts,
    "costs": FirstGuesses,
    "enhancement": Enhancement,
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


def _permissions_permit_something(policies: Snapshot) -> Iterator[Misfit]:
    """A permission that fits no job type is a slip of the pen."""
    tiers, job_types = policies.table("tiers", Tiers), policies.table("job_types", JobTypes).job_types
    for name, permission in tiers.idle_permissions(job_types):
        place = tiers.tiers[name].permissions.index(permission)
        yield Misfit("tiers", ("tiers", name, "permissions", place), f"fits no job type: {permission!r}")


def _rules_name_what_there_is(policies: Snapshot) -> Iterator[Misfit]:
    """A rule for a tier that does not exist would never hold."""
    tiers = policies.table("tiers", Tiers).tiers
    for index, rule in enumerate(policies.table("content", Content).rules):
        for place, name in enumerate(rule.tiers):
            if name not in tiers:
                steps = ("rules", index, "tiers", place)
                yield Misfit("content", steps, f"must be one of {', '.join(tiers)}, got {name!r}")


CHECKS: tuple[Callable[[Snapshot], Iterator[Misfit]], ...] = (
    _presets_do_not_hide_job_types,
    _permissions_permit_something,
    _rules_name_what_there_is,
)


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
