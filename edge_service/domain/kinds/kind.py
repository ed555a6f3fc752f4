"""The interface of a kind of work: everything that differs between sdxl, wan and chat, and nothing else does.

A new kind is a subclass in a file of its own, listed in `kinds/__init__.py`. What it leaves out, it does not have: no
size, no seeds, no reference images, no prompt weights.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2

Job = TypeVar("Job", bound=Message)
Result = TypeVar("Result", bound=Message)
ChatModel = Literal["qwen_instruct", "qwen_base"]
# Sizes within a bucket take about as long; without buckets every odd size would have an estimate of its own.
SIDE_BUCKET = 64
# No job is no work: rates are per unit.
MIN_UNITS = 1e-6


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    @classmethod
    def of(cls, text: str) -> "Size":
        """The size that "1344x768" stands for."""
        width, _, height = text.partition("x")
        return cls(int(width), int(height))


class Workload(NamedTuple):
    """How much work a job is. Jobs of one `name` take about as long; `units` are proportional to their seconds."""

    name: str
    units: float


def denoising_work(type_name: str, size: Size, steps: int, guidance_scale: float, count: int, noun: str) -> Workload:
    """The work of denoising `count` images, or latent frames, of a size."""
    pixels = size.width * size.height
    side = max(SIDE_BUCKET, round(math.sqrt(pixels) / SIDE_BUCKET) * SIDE_BUCKET)
    passes = 2 if guidance_scale > 1 else 1  # without guidance the model need not see the negative prompt
    name = f"{type_name} {side}px {steps} steps {count} {noun} {passes} passes"
    return Workload(name, max(pixels / 1e6 * steps * count * passes, MIN_UNITS))


class WantedReference(NamedTuple):
    """A reference image that a job names: by which field, as what (a key or URL), and where in `references` it goes."""

    field: str
    value: str
    place: str


class Kind(ABC, Generic[Job, Result]):
    """One kind of work. Stateless: there is one instance of each."""

    worker_type: ClassVar[str]
    """The name of its field in SubmitJobRequest too."""
    job_class: type[Job]
    callback_class: type[Result]
    stub_class: Any
    """The client stub of its workers' service; has `Generate`."""
    type_names: ClassVar[tuple[str, ...]]
    """Its job types, as the specification's words."""

    has_prompt: ClassVar[bool] = True
    """False for a conversation: it has messages instead, and a system prompt of the edge's."""
    enhanced_by: ClassVar[ChatModel | None] = None
    """The chat model that improves its prompts."""
    negative_prompt: ClassVar[str] = ""
    """Path of the field that negative words are added to."""
    weights_prompts: ClassVar[bool] = False
    """Whether its texts may have weights such as (word:1.3), so that a model reads other words than were written."""
    size_fields: ClassVar[tuple[str, ...]] = ()
    """Paths of the fields that set the size in pixels."""
    reference_addresses: ClassVar[tuple[str, ...]] = ()
    """Paths of the fields that name a reference image by key or URL."""
    optional_abilities: ClassVar[Mapping[str, str]] = {}
    """Paths of fields that need an ability of the model, each with what the names of such abilities begin with."""
    ability_choices: ClassVar[tuple[str, ...]] = ()
    """Paths of fields whose every choice but "none" is an ability of its own: "reference_" and the choice."""
    not_content: ClassVar[frozenset[str]] = frozenset()
    """Full names of string fields that no model reads. Whatever is not named is content, and moderated."""

    @abstractmethod
    def type_name(self, job: Job) -> str:
        """The job's type as the specification's word."""

    @abstractmethod
    def request(self, job: Job, job_id: str, owner: str, attempt: int = 0) -> Message:
        """The GenerateRequest that a worker gets."""

    @abstractmethod
    def workload(self, job: Job) -> Workload:
        """The work in a complete job."""

    @abstractmethod
    def sample(self) -> dict[str, Any]:
        """What a request must say besides what a policy fills, as a partial job: for checking the policies."""

    def set_ids(self, job: Job, job_id: str, owner: str) -> None:
        """Writes the job's id and its owner into the message, where it has such fields."""

    def files(self, callback: Result) -> Sequence[Any]:
        """The assets of a result that are files in the store. Each has `key`, `url`, `type` and `metadata`."""
        return ()

    def finish(self, job: Job, callback: Result, is_enhanced_type: bool) -> None:
        """Writes into a worker's result what only the edge knows: who improved the prompt."""

    def needs(self, job: Job) -> list[str]:
        """What a worker must offer to get the job: names of models and abilities, as `Worker.offers` lists them."""
        return sorted({ability for ability, _ in self.abilities(job)})

    def abilities(self, job: Job) -> list[tuple[str, str]]:
        """The optional abilities that a job needs, each with the field that asks for it."""
        return []

    def draw_seeds(self, job: Job) -> None:
        """Sets every seed that the request left out. Raises InvalidRequest for seeds that do not fit the job."""

    def size(self, job: Job) -> Size | None:
        """The size of what a complete job makes."""
        return None

    def size_values(self, size: Size) -> dict[str, Any]:
        """A size as a partial job."""
        raise InvalidRequest(Violation("aspect_ratio", f"a {self.worker_type} request has no size to set"))

    def problems(self, job: Job) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yields what is wrong with a partial job beyond the rules of the protos, each with the path to it."""
        yield from ()

    def read_once(self, job: Job) -> dict[str, str]:
        """The texts by field that a model reads up to its token limit, and no further."""
        return {}

    def resolve_prompt_weights(self, job: Job, asked: Job) -> None:
        """Completes and checks the prompt weights of `job`; `asked` is the request's own. Raises InvalidRequest."""

    def check_prompt_weights(self, job: Job, texts: Mapping[str, str]) -> None:
        """Raises InvalidRequest, naming the fields, for texts by field whose weights cannot be read."""

    def reference_fields(self, job: Job) -> list[str]:
        """Paths of the fields of a request that ask for a reference image."""
        return []

    def resolve_references(
        self, job: Job, asked: Job, use: "edge_pb2.ReferenceUse", enhancement: "edge_pb2.Enhancement"
    ) -> None:
        """Completes what `job` says of its reference images; `asked` is the request's own. Raises InvalidRequest."""
        if use:
            raise InvalidRequest(Violation("reference_use", "only image jobs (sdxl) have it"))

    def wanted_references(self, job: Job) -> list[WantedReference]:
        """The reference images that a completed job names, each of them once."""
        return []

    def clear_reference_addresses(self, job: Job) -> None:
        """Takes the caller's keys and URLs out of a job: a worker gets what is in `references`."""
        for path in self.reference_addresses:
            part, _, field = path.rpartition(".")
            getattr(job, part).ClearField(field)

    def reference_keys(self, job: Job) -> list[str]:
        """Keys of the reference images that a planned job was given."""
        if "references" not in job.DESCRIPTOR.fields_by_name:
            return []
        found = [value for _, value in job.references.ListFields() if isinstance(value, job_pb2.Reference)]  # type: ignore[attr-defined]
        return sorted({reference.key for reference in found})
