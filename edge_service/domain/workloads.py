"""Which jobs take about as long, and how much work they are: pure arithmetic on complete jobs."""

import math
from dataclasses import dataclass

from pydantic import PositiveFloat, field_validator

from edge_service.domain.job_types import JOB_CLASSES, WorkerJob
from edge_service.policy import Strict, policy, refused
from edge_service.policy.mistakes import Steps
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.validation_schemas import enum_word

# Sizes within a bucket take about as long; without buckets every odd size would be a kind nobody learned from yet.
SIDE_BUCKET = 64
# Frames that Wan's model makes out of one latent picture, the first one excepted.
FRAMES_PER_LATENT = 4
CHARACTERS_PER_TOKEN = 4
# A prompt is read at once, an answer is written token by token.
READ_PER_WRITTEN = 20
# No job is no work: rates are per unit.
MIN_UNITS = 1e-6


@dataclass(frozen=True)
class Kind:
    """`name` tells kinds apart; `units` of work are proportional to the seconds of a job on one worker, about."""

    name: str
    units: float


class FirstGuesses(Strict):
    """The table in `policies/costs.yaml`."""

    version: int
    seconds_per_unit: dict[str, PositiveFloat]

    @field_validator("seconds_per_unit")
    @classmethod
    def _has_every_worker_type(cls, guesses: dict[str, float]) -> dict[str, float]:
        problems: list[tuple[Steps, str]] = [((), f"{name} is missing") for name in JOB_CLASSES if name not in guesses]
        known = ", ".join(JOB_CLASSES)
        problems += [((name,), f"is no worker type; known: {known}") for name in guesses if name not in JOB_CLASSES]
        if problems:
            raise refused(problems)
        return guesses


def first_guesses() -> FirstGuesses:
    """The table that is in force."""
    return policy("costs", FirstGuesses)


def kind_of(type_name: str, job: WorkerJob) -> Kind:
    """The kind of a complete job."""
    if isinstance(job, sdxl_pb2.SdxlJob):
        return _images(type_name, job)
    return _frames(type_name, job) if isinstance(job, wan_pb2.WanJob) else _tokens(type_name, job)


def _images(type_name: str, job: sdxl_pb2.SdxlJob) -> Kind:
    width, height = (int(side) for side in job.config.resolution.split("x"))
    return _pictures(
        type_name, width * height, job.config.steps, job.config.guidance_scale, job.config.num_images, "images"
    )


def _frames(type_name: str, job: wan_pb2.WanJob) -> Kind:
    latents = 1 + math.ceil((job.config.frames - 1) / FRAMES_PER_LATENT)
    pixels = job.config.width * job.config.height
    return _pictures(type_name, pixels, job.sampling.steps, job.sampling.guidance_scale, latents, "latents")


def _pictures(type_name: str, pixels: int, steps: int, guidance_scale: float, count: int, noun: str) -> Kind:
    side = max(SIDE_BUCKET, round(math.sqrt(pixels) / SIDE_BUCKET) * SIDE_BUCKET)
    passes = 2 if guidance_scale > 1 else 1  # without guidance the model need not see the negative prompt
    name = f"{type_name} {side}px {steps} steps {count} {noun} {passes} passes"
    return Kind(name, max(pixels / 1e6 * steps * count * passes, MIN_UNITS))


def _tokens(type_name: str, job: chat_pb2.ChatRequest) -> Kind:
    read = sum(len(message.content) for message in job.messages) / CHARACTERS_PER_TOKEN
    model = enum_word("ChatModel", chat_pb2.ChatModel.Name(job.model))
    name = f"{type_name} {model} reads {_bucket(read)} writes {_bucket(job.max_tokens)}"
    return Kind(name, job.max_tokens + read / READ_PER_WRITTEN)


def _bucket(tokens: float) -> int:
    """The power of two at or above a number of tokens, 64 at least."""
    return 1 << max(6, math.ceil(math.log2(max(tokens, 1))))
