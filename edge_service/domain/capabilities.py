"""Can the connected models do what is asked? Checked against what the workers say of themselves."""

from collections.abc import Sequence

from atelier.contracts.errors import CapabilityMissing, InvalidRequest, Violation
from atelier.contracts.sizes import size_problem
from atelier.pb.worker.v1 import worker_pb2
from edge_service.domain.kinds import KINDS, WorkerJob, kind_of


def check_capabilities(job: WorkerJob, models: Sequence[worker_pb2.Model]) -> None:
    """Raises InvalidRequest for a size, or CapabilityMissing for an ability, that none of `models` has.

    Without models (no worker has connected yet) nothing is checked here: the worker checks again.
    """
    if not models:
        return
    for wanted, field in kind_of(job).abilities(job):
        if not any(wanted in model.capabilities for model in models):
            prefix = wanted.partition("_")[0]
            like_it = sorted({word for model in models for word in model.capabilities if word.startswith(f"{prefix}_")})
            but = f", only {', '.join(like_it)}" if like_it else ""
            raise CapabilityMissing(f"{field}: no connected model can do {wanted}{but}")
    problems = [_size_problem(job, model) for model in models]
    if all(problems):
        raise InvalidRequest(next(problem for problem in problems if problem))


def able(worker_type: str, field: str, models: Sequence[worker_pb2.Model]) -> bool:
    """Whether one of `models` can use a field: True for one that takes no optional ability."""
    wanted = KINDS[worker_type].optional_abilities.get(field)
    return wanted is None or any(word.startswith(wanted) for model in models for word in model.capabilities)


def able_choices(worker_type: str, field: str, choices: Sequence[str], models: Sequence[worker_pb2.Model]) -> list[str]:
    """Those of the choices of a field that one of `models` can use; all of them if it takes no optional ability."""
    if field not in KINDS[worker_type].ability_choices:
        return list(choices)
    abilities = {word for model in models for word in model.capabilities}
    return [choice for choice in choices if choice == "none" or f"reference_{choice}" in abilities]


def _size_problem(job: WorkerJob, model: worker_pb2.Model) -> Violation | None:
    """What is wrong with the job's size for this model; None if nothing is."""
    kind = kind_of(job)
    size = kind.size(job)
    problem = size and size_problem(*size, model)
    if not problem:
        return None
    # Width and height of one field, or what two fields of `config` say together.
    return Violation(kind.size_fields[0] if len(kind.size_fields) == 1 else "config", problem)
