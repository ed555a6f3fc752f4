"""From what a caller writes to the messages of the edge: keyword options, or the specification's JSON."""

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from atelier.contracts.json_form import from_spec_dict, from_spec_json
from atelier.contracts.validation import enum_word
from atelier.errors import InvalidRequest, Violation
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2

Picture: TypeAlias = sdxl_pb2.SdxlJob | wan_pb2.WanJob
Submittable: TypeAlias = Picture | chat_pb2.ChatRequest | edge_pb2.SubmitJobRequest
Messages: TypeAlias = str | Sequence[Mapping[str, str]]
JOB_TYPES: dict[str, type[Picture]] = {
    **{enum_word("SdxlJobType", name): sdxl_pb2.SdxlJob for name in sdxl_pb2.SdxlJobType.keys()[1:]},
    **{enum_word("WanJobType", name): wan_pb2.WanJob for name in wan_pb2.WanJobType.keys()[1:]},
}
P = TypeVar("P", sdxl_pb2.SdxlJob, wan_pb2.WanJob)


class SubmitOptions(TypedDict, total=False):
    """Options of every job. `preset`, `aspect_ratio`, `quality` and `style` are names of the catalogue; `priority` is
    -10 to 10, more goes first; `webhook` is the address that gets the result; `reference_use`, for an image with a
    reference, is "exact_copy" or "modify"; `enhancement` of the prompt is "on" or "off"; `content_mode` is "sfw" or
    "nsfw". Calls with the same `idempotency_key` are the same job if they come within a day; by default each has a new
    one."""

    preset: str
    aspect_ratio: str
    quality: str
    style: str
    priority: int
    webhook: str
    idempotency_key: str
    reference_use: str
    enhancement: str
    content_mode: str


class ImageOptions(SubmitOptions, total=False):
    """Options of `client.image`. What is left out, the edge fills from the job type's preset.

    `reference_image_url` is a file of this machine, which is uploaded, the key of an asset of yours, or a URL.
    """

    type: str
    num_images: int
    steps: int
    guidance_scale: float
    resolution: str
    seed: int
    negative_prompt: str
    scheduler: str
    clip_skip: int
    compel_enabled: bool
    compel_weights: str
    reference_image_url: str
    reference_strength: float
    reference_type: str


class VideoOptions(SubmitOptions, total=False):
    """Options of `client.video`. What is left out, the edge fills from the job type's preset.

    `image`, `first_frame` and `last_frame` are files of this machine, which are uploaded, keys of assets of yours, or
    URLs.
    """

    type: str
    width: int
    height: int
    frames: int
    fps: int
    steps: int
    guidance_scale: float
    flow_shift: float
    seed: int
    negative_prompt: str
    reference_mode: str
    image: str
    first_frame: str
    last_frame: str
    reference_strength: float


class ChatOptions(TypedDict, total=False):
    """Options of `client.chat`. What is left out, the edge fills. `context` is a name of the catalogue, whose system
    prompt begins the conversation; `content_mode` is "sfw" or "nsfw"."""

    context: str
    content_mode: str

    max_tokens: int
    temperature: float
    top_p: float
    model: str
    sfw_mode: bool


def image(prompt: str, options: Mapping[str, Any]) -> sdxl_pb2.SdxlJob:
    """An image job. Raises InvalidRequest for a value of the wrong kind, TypeError for an unknown option."""
    return _picture(sdxl_pb2.SdxlJob, {"type": "sdxl_image_high", "prompt": prompt}, options)


def video(prompt: str, options: Mapping[str, Any]) -> wan_pb2.WanJob:
    """A video or still job. Raises as `image` does."""
    return _picture(wan_pb2.WanJob, {"type": "video_fast", "prompt": prompt}, options)


def chat(messages: Messages, options: Mapping[str, Any]) -> chat_pb2.ChatRequest:
    """A chat request from a text, which is what the user says, or from {"role": ..., "content": ...} objects."""
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else [dict(turn) for turn in messages]
    return from_spec_dict(chat_pb2.ChatRequest, {"messages": turns, **options})


def turn(messages: Messages, options: Mapping[str, Any]) -> edge_pb2.ChatRequest:
    """An interactive turn. Raises InvalidRequest for a value of the wrong kind, or an unknown option."""
    own = {name: value for name, value in options.items() if name not in ("context", "content_mode")}
    asked = from_spec_dict(edge_pb2.ChatRequest, {name: options[name] for name in options if name not in own})
    asked.request.CopyFrom(chat(messages, own))
    return asked


def submission(job: Submittable | Mapping[str, Any], options: SubmitOptions | None = None) -> edge_pb2.SubmitJobRequest:
    """The request that submits a job given as a message or as the specification's JSON object.

    Options go before what the job itself says. Raises InvalidRequest for a value of the wrong kind.
    A key is added that names the submission, so that a call repeated over a broken connection makes no second job.
    """
    message = from_spec_dict(message_class(job), dict(job)) if isinstance(job, Mapping) else job
    request = edge_pb2.SubmitJobRequest()
    request.CopyFrom(message if isinstance(message, edge_pb2.SubmitJobRequest) else _wrapped(message))
    given: dict[str, Any] = {**(options or {})}
    if "webhook" in given:
        given["webhook"] = {"url": given["webhook"]}
    request.MergeFrom(from_spec_dict(edge_pb2.SubmitJobRequest, given))
    request.idempotency_key = request.idempotency_key or new_key()
    return request


def local_pictures(job: Picture) -> list[tuple[Message, str]]:
    """The fields of a job that name pictures on this machine, each with the message that has it.

    A value is a file where one of that name is here; otherwise it is a key or a URL, for the edge to judge.
    """
    metadata: list[tuple[Message, str]] = [(job.metadata, "reference_image_url")]
    frames: list[tuple[Message, str]] = []
    if isinstance(job, wan_pb2.WanJob):
        frames = [(job.config, field) for field in ("image", "first_frame", "last_frame")]
    return [(part, field) for part, field in metadata + frames if _is_file(getattr(part, field))]


def _is_file(value: str) -> bool:
    return bool(value) and "://" not in value and Path(value).is_file()


def of_submission(options: Mapping[str, Any]) -> SubmitOptions:
    """Those of the options that are the same for every job."""
    return cast(SubmitOptions, {name: options[name] for name in SubmitOptions.__annotations__ if name in options})


def new_key() -> str:
    """A name for one request that makes a job."""
    return secrets.token_hex(16)


def from_text(text: str | bytes) -> Submittable:
    """A job from JSON text of the specification. Raises InvalidRequest naming what is wrong."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        plain = None  # the parser below says what is wrong with it
    return from_spec_json(message_class(plain), text)


def message_class(plain: object) -> type[Submittable]:
    """Which message a JSON object of the specification stands for. Raises InvalidRequest for an unknown job type."""
    if not isinstance(plain, Mapping):
        return sdxl_pb2.SdxlJob
    if plain.keys() & {"sdxl", "wan", "chat"}:
        return edge_pb2.SubmitJobRequest
    if "messages" in plain:
        return chat_pb2.ChatRequest
    kind = plain.get("type")
    if isinstance(kind, str) and kind not in JOB_TYPES:
        raise InvalidRequest(Violation("type", f"unknown word {kind[:40]!r}; known: {', '.join(JOB_TYPES)}"))
    return JOB_TYPES[kind] if isinstance(kind, str) else sdxl_pb2.SdxlJob


def _wrapped(message: Picture | chat_pb2.ChatRequest) -> edge_pb2.SubmitJobRequest:
    if isinstance(message, sdxl_pb2.SdxlJob):
        return edge_pb2.SubmitJobRequest(sdxl=message)
    if isinstance(message, wan_pb2.WanJob):
        return edge_pb2.SubmitJobRequest(wan=message)
    return edge_pb2.SubmitJobRequest(chat=message)


def _picture(cls: type[P], job: dict[str, Any], options: Mapping[str, Any]) -> P:
    for name, value in options.items():
        if name in SubmitOptions.__annotations__:
            continue
        part = _part(cast(Descriptor, cls.DESCRIPTOR), name)
        (job.setdefault(part, {}) if part else job)[name] = value
    return from_spec_dict(cls, job)


def _part(job: Descriptor, option: str) -> str:
    """The message of the job that has a field of this name; empty for the job itself."""
    if option in job.fields_by_name:
        return ""
    parts = {field.name: field.message_type.fields_by_name for field in job.fields if field.message_type}
    for part, fields in parts.items():
        if option in fields:
            return part
    known = sorted([*SubmitOptions.__annotations__, *(name for fields in parts.values() for name in fields)])
    raise TypeError(f"unknown option {option!r}; known: type, {', '.join(known)}")
