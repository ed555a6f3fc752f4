"""What a frontend needs to draw its forms: job types with parameters, bounds read from the protos, defaults, and what
can be chosen by name."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor

from atelier.contracts.sizes import CommonSizes
from atelier.contracts.validation import ValidationConfig, rules
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.worker.v1 import worker_pb2
from edge_service.accounts.tiers import tiers
from edge_service.domain.capabilities import able, able_choices
from edge_service.domain.job_types import JobType, job_types
from edge_service.domain.kinds import KINDS
from edge_service.domain.partial_job import EDGE_SETS
from edge_service.domain.principal import Principal
from edge_service.fleet import Fleet
from edge_service.planning.chat_contexts import contexts
from edge_service.planning.permissions import account_mode
from edge_service.planning.presets import Choices, Words, choices
from edge_service.policy import current

# Said by the choice of the job type itself.
NOT_ASKED = {"type"}
SIZES = {path for kind in KINDS.values() for path in kind.size_fields}
# What holds where the request says nothing, whatever the job type has: without a content mode all is safe for work.
HELD = {"sfw_mode": True}


class Catalog:
    """What this caller can ask for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def get(self, caller: Principal) -> edge_pb2.GetCatalogResponse:
        """Everything there is, each with whether the caller may and a connected worker can."""
        tier = tiers().tiers[caller.tier]
        most = account_mode(tier, caller.content_mode)
        modes = [mode for mode in (edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW) if mode <= most]
        described = {name: context.description for name, context in contexts().contexts.items()}
        return catalog(self._fleet, lambda name: tier.allows_job(name, job_types()[name].worker_type), modes, described)


def catalog(
    fleet: Fleet,
    permitted: Callable[[str], bool] = lambda job_type: True,
    content_modes: Sequence["edge_pb2.ContentMode"] = (),
    contexts: Mapping[str, str] | None = None,
) -> edge_pb2.GetCatalogResponse:
    """Everything that can be asked for, and the models that are connected now.

    `permitted` tells for the name of a job type whether the caller may ask for it; `content_modes` are those the caller
    may choose; `contexts` are those of chat, each with its description.
    """
    available = {worker.worker_type for worker in fleet.connected() if worker.status and worker.status.accepting}
    table, models = choices(), fleet.models()
    return edge_pb2.GetCatalogResponse(
        job_types=[
            _entry(name, entry, entry.worker_type in available, permitted(name), models.get(entry.worker_type, []))
            for name, entry in job_types().items()
        ],
        models=[model for found in models.values() for model in found],
        presets=list(_presets(table)),
        aspect_ratios=list(_aspect_ratios(table)),
        qualities=_words(table.qualities),
        styles=_words(table.styles),
        content_modes=content_modes,
        chat_contexts=[edge_pb2.WordsEntry(name=name, description=said) for name, said in (contexts or {}).items()],
        policy_version=current().version,
    )


def _entry(
    name: str, job_type: JobType, available: bool, permitted: bool, models: Sequence[worker_pb2.Model]
) -> edge_pb2.JobTypeEntry:
    defaults = dict(_leaves(job_type.values, "")) | HELD
    parameters = [_parameter(job_type.worker_type, rule, defaults, models) for rule in _asked(job_type.worker_type)]
    return edge_pb2.JobTypeEntry(
        name=name,
        worker_type=job_type.worker_type,
        available=available,
        parameters=parameters,
        credits=job_type.credits,
        permitted=permitted,
        enhanced=job_type.enhanced,
    )


@cache
def _asked(worker_type: str) -> list[ValidationConfig]:
    """The rules of all that a request may set."""
    known = rules(cast(Descriptor, KINDS[worker_type].job_class.DESCRIPTOR))
    return [rule for rule in known if rule.field.partition(".")[0] not in (*EDGE_SETS, *NOT_ASKED)]


def _parameter(
    worker_type: str, rule: ValidationConfig, defaults: dict[str, Any], models: Sequence[worker_pb2.Model]
) -> edge_pb2.Parameter:
    default = json.dumps(defaults[rule.field]) if rule.field in defaults else ""
    parameter = edge_pb2.Parameter(
        field=rule.field, type=rule.type, default=default, minimum=rule.minimum, maximum=rule.maximum,
        choices=able_choices(worker_type, rule.field, rule.choices, models), pattern=rule.pattern,
        available=able(worker_type, rule.field, models),
    )  # fmt: skip
    if rule.field in SIZES:
        _narrow(parameter, CommonSizes.of(models))
    return parameter


def _narrow(parameter: edge_pb2.Parameter, sizes: CommonSizes) -> None:
    """Tells the bounds of the connected models, which a request meets after those of the protos."""
    parameter.multiple_of, parameter.min_side = sizes.size_multiple, sizes.min_side
    parameter.max_pixels = sizes.max_pixels
    if parameter.type == "uint32":
        parameter.minimum, parameter.maximum = sizes.sides(int(parameter.minimum), int(parameter.maximum))


def _presets(table: Choices) -> Iterator[edge_pb2.PresetEntry]:
    for name, preset in table.presets.items():
        yield edge_pb2.PresetEntry(
            name=name, worker_type=preset.worker_type, description=preset.description, values=json.dumps(preset.values)
        )


def _aspect_ratios(table: Choices) -> Iterator[edge_pb2.AspectRatioEntry]:
    for worker_type in KINDS:
        for ratio, (width, height) in table.sizes(worker_type).items():
            yield edge_pb2.AspectRatioEntry(name=ratio, worker_type=worker_type, width=width, height=height)


def _words(known: Mapping[str, Words]) -> list[edge_pb2.WordsEntry]:
    return [edge_pb2.WordsEntry(name=name, description=words.description) for name, words in known.items()]


def _leaves(values: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield path + name, value
