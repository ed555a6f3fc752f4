"""What a request may choose by name: presets, aspect ratios, qualities and styles, from `policies/presets.yaml`."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.kinds import KINDS, Size, WorkerJob, WorkerType
from edge_service.domain.partial_job import partial_job, problems_of, values_that_fit
from edge_service.policy import Strict, policy, refused
from edge_service.policy.mistakes import Steps

T = TypeVar("T")
PROMPT = "{prompt}"
SIZE = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}")
# How far a size may be from the ratio it is called by: models are trained on a few sizes, and none is exactly 16:9.
RATIO_TOLERANCE = 0.05

# As the contract of SubmitJobRequest takes them.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=64)]
Ratio = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*:[1-9][0-9]*$", max_length=16)]
Description = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]


class Preset(Strict):
    """Values for a purpose, as a partial job in the specification's JSON."""

    worker_type: WorkerType
    description: Description
    values: Annotated[dict[str, Any], Field(min_length=1), AfterValidator(values_that_fit)]

    @cached_property
    def filling(self) -> WorkerJob:
        """The values as a partial job message; leave it as it is."""
        return partial_job(self.worker_type, self.values)


class Words(Strict):
    """Words that are added to what a request says."""

    description: Description
    prompt: str = Field(PROMPT, max_length=1000)
    """What the prompt becomes; {prompt} stands for what it was."""
    negative_prompt: str = Field("", max_length=1000)
    """What the negative prompt gets besides."""

    @field_validator("prompt")
    @classmethod
    def _keeps_the_prompt(cls, template: str) -> str:
        if template.count(PROMPT) != 1 or set("{}") & set(template.replace(PROMPT, "")):
            raise ValueError(f"must have {PROMPT} once and no other braces, got {template!r}")
        return template

    @model_validator(mode="after")
    def _has_an_effect(self) -> "Words":
        if self.prompt == PROMPT and not self.negative_prompt:
            raise ValueError("adds no words: give prompt or negative_prompt")
        return self


def _sizes_fit(sizes: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Refuses a table that lacks a kind of work with sizes, has another, or a size that does not fit its ratio."""
    sized = [name for name, kind in KINDS.items() if kind.size_fields]
    problems: list[tuple[Steps, str]] = [((name,), "is missing") for name in sized if name not in sizes]
    problems += [((name,), f"unknown key; known: {', '.join(sized)}") for name in sizes.keys() - sized]
    for worker_type in sized:
        for ratio, size in sizes.get(worker_type, {}).items():
            if problem := _size_problem(worker_type, ratio, size):
                problems.append(((worker_type, ratio), problem))
    if problems:
        raise refused(problems)
    return sizes


class Choices(Strict):
    """The whole table."""

    version: int
    presets: dict[Name, Preset]
    aspect_ratios: Annotated[dict[str, dict[Ratio, str]], AfterValidator(_sizes_fit)]
    """Sizes by worker type and ratio, such as {"sdxl": {"16:9": "1344x768"}}."""
    qualities: dict[Name, Words]
    styles: dict[Name, Words]

    def sizes(self, worker_type: str) -> dict[str, Size]:
        """The sizes of a worker type by aspect ratio; none for one whose jobs have no size."""
        return {ratio: Size.of(text) for ratio, text in self.aspect_ratios.get(worker_type, {}).items()}

    @cached_property
    def size_fillings(self) -> dict[str, dict[str, WorkerJob]]:
        """By worker type and aspect ratio, the size as a partial job message; leave it as it is."""
        return {
            name: {ratio: partial_job(name, KINDS[name].size_values(size)) for ratio, size in self.sizes(name).items()}
            for name in self.aspect_ratios
        }


def _size_problem(worker_type: str, ratio: str, text: str) -> str | None:
    if not SIZE.fullmatch(text):
        return f"must be width x height in pixels, such as 1024x1024, got {text!r}"
    size = Size.of(text)
    for steps, problem in problems_of(worker_type, KINDS[worker_type].size_values(size)):
        return f"{steps[-1]}: {problem}"
    across, down = map(int, ratio.split(":"))
    if abs(size.width * down / (size.height * across) - 1) > RATIO_TOLERANCE:
        return f"must be within {RATIO_TOLERANCE:.0%} of {ratio}, got {text}"
    return None


class Chosen(NamedTuple):
    """What a request chooses by name; empty for nothing."""

    preset: str = ""
    aspect_ratio: str = ""
    quality: str = ""
    style: str = ""

    @classmethod
    def by(cls, request: edge_pb2.SubmitJobRequest) -> "Chosen":
        """What a request chooses."""
        return cls(request.preset, request.aspect_ratio, request.quality, request.style)


NOTHING = Chosen()


def picked(field: str, known: Mapping[str, T], name: str) -> T:
    """What a name stands for. Raises InvalidRequest with the names there are."""
    if name not in known:
        raise InvalidRequest(Violation(field, f"must be one of {', '.join(sorted(known))}, got '{name}'"))
    return known[name]


def choices() -> Choices:
    """The table that is in force."""
    return policy("presets", Choices)
