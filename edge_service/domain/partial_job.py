"""Partial jobs, as policies hold them: values in the specification's JSON that fill what a request leaves out.

They are checked by the protos' own rules, so that no policy can ask for what a request could not.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from google.protobuf.message import Message
from pydantic import ValidationInfo

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict
from edge_service.domain.kinds import KINDS, WorkerJob, kind_of
from edge_service.policy import refused
from edge_service.policy.mistakes import Steps
from shared.validation import check

# Fields that only the edge sets.
EDGE_SETS = ("id", "user_id", "references", "enhancement_source")
# Fields that only a request can fill: what it is about, and pictures and seeds of its own.
REQUEST_SETS = (
    "type", "prompt", "messages", "sampling.seeds",
    *(path for kind in KINDS.values() for path in kind.reference_addresses),
)  # fmt: skip


def partial_job(worker_type: str, values: dict[str, Any]) -> WorkerJob:
    """The values as a partial job message."""
    job: WorkerJob = from_spec_dict(KINDS[worker_type].job_class, values)
    return job


def values_that_fit(values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """A pydantic validator for a field beside `worker_type`: refuses values that such a job cannot have."""
    worker_type = info.data.get("worker_type")
    if worker_type and (problems := list(problems_of(worker_type, values))):
        raise refused(problems)
    return values


def problems_of(worker_type: str, values: dict[str, Any]) -> Iterator[tuple[Steps, str]]:
    """Yields everything that is wrong with the values of a partial job, each with the way to it."""
    values = deepcopy(values)
    for field in (*EDGE_SETS, *REQUEST_SETS):
        if _drop(values, steps := _steps(field)):
            yield steps, f"{field} cannot be filled by a policy"
    while True:
        try:
            job = partial_job(worker_type, values)
            break
        except InvalidRequest as error:
            # The parser stops at the first problem; without it the next one shows.
            [violation] = error.violations
            yield _steps(violation.field), violation.description
            if not _drop(values, _steps(violation.field)):
                return
    yield from _broken_rules(job, values)
    yield from kind_of(job).problems(job)


def _broken_rules(job: Message, values: dict[str, Any]) -> Iterator[tuple[Steps, str]]:
    try:
        check(job)
    except InvalidRequest as error:
        for violation in error.violations:
            steps = _steps(violation.field)
            if _has(values, steps):  # the rest is for the request to fill
                yield steps, violation.description


def _steps(path: str) -> Steps:
    return tuple(int(step) if step.isdecimal() else step for step in re.findall(r"[^.\[\]]+", path))


def _has(values: Any, steps: Steps) -> bool:
    for step in steps:
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True


def _drop(values: dict[str, Any], steps: Steps) -> bool:
    """Removes what stands at the end of the way; False if nothing does."""
    if not steps or not _has(values, steps):
        return False
    for step in steps[:-1]:
        values = values[str(step)]
    del values[str(steps[-1])]
    return True
