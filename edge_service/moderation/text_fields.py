"""Every text that a job carries to a model, by its field: what the refusal and the content rules read."""

from collections.abc import Iterator, Mapping
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from edge_service.domain.kinds import KINDS, WorkerJob

# String fields that no model reads. Whatever is not named by its kind or here is content, a new field of a message too.
NOT_CONTENT = frozenset({"atelier.job.v1.Reference.key", "atelier.job.v1.Reference.sha256"}).union(
    *(kind.not_content for kind in KINDS.values())
)


def texts_of(job: WorkerJob, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The texts of a job that are set, by paths such as "config.negative_prompt" or "messages[0].content", and those of
    `extra`: what is added to it, such as words of a style or a system prompt.
    """
    return dict(_texts(job, "")) | dict(extra or {})


def _texts(message: Message, path: str) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        values = {f"{path}{field.name}[{index}]": item for index, item in enumerate(value)} if field.is_repeated else {}
        for place, item in (values or {f"{path}{field.name}": value}).items():
            if field.message_type:
                yield from _texts(item, f"{place}.")
            elif field.type == FieldDescriptor.TYPE_STRING and field.full_name not in NOT_CONTENT:
                yield place, item


def text_fields(message: Descriptor) -> Iterator[str]:
    """The full names of all fields of text in a message and in those within it."""
    for field in cast(list[FieldDescriptor], message.fields):
        if field.message_type:
            yield from text_fields(field.message_type)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield field.full_name
