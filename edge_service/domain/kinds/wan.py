"""Wan: videos and stills from a prompt, and from reference images."""

import math
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from atelier.contracts.capabilities import needed_by_video
from atelier.contracts.validation import enum_word, enum_words
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.wan.v1 import wan_pb2, wan_pb2_grpc
from edge_service.domain.decisions import decide
from edge_service.domain.kinds.kind import Kind, Size, WantedReference, Workload, denoising_work
from edge_service.domain.kinds.wan_references import NONE, SLOTS, named, resolve_video_references

SEEDS = 2**31
# Frames that Wan's VAE makes out of one latent frame, the first one excepted.
FRAMES_PER_LATENT = 4
ADDRESSES = tuple(path for slot in SLOTS for path in (f"config.{slot.field}", f"metadata.{slot.fallback}"))


class WanKind(Kind[wan_pb2.WanJob, wan_pb2.WanCallback]):
    """See `Kind`."""

    worker_type = "wan"
    job_class, callback_class = wan_pb2.WanJob, wan_pb2.WanCallback
    stub_class = wan_pb2_grpc.WanServiceStub
    type_names = tuple(enum_words(wan_pb2.WanJobType.DESCRIPTOR))
    enhanced_by = "qwen_base"
    negative_prompt = "sampling.negative_prompt"
    size_fields = ("config.width", "config.height")
    reference_addresses = ADDRESSES
    optional_abilities = dict.fromkeys((*ADDRESSES, "metadata.reference_strength"), "reference_")
    ability_choices = ("config.reference_mode",)
    not_content = frozenset({
        "atelier.wan.v1.WanJob.id",
        "atelier.wan.v1.WanJob.user_id",
        *(f"atelier.wan.v1.WanConfig.{slot.field}" for slot in SLOTS),
        *(f"atelier.wan.v1.WanMetadata.{slot.fallback}" for slot in SLOTS),
    })  # fmt: skip

    def type_name(self, job: wan_pb2.WanJob) -> str:
        return enum_word("WanJobType", wan_pb2.WanJobType.Name(job.type))

    def set_ids(self, job: wan_pb2.WanJob, job_id: str, owner: str) -> None:
        job.id, job.user_id = job_id, owner

    def request(self, job: wan_pb2.WanJob, job_id: str, owner: str, attempt: int = 0) -> wan_pb2.GenerateRequest:
        return wan_pb2.GenerateRequest(job=job, attempt=attempt)

    def sample(self) -> dict[str, Any]:
        return {"prompt": "check", "id": "check", "user_id": "check"}

    def files(self, callback: wan_pb2.WanCallback) -> Sequence[wan_pb2.WanAsset]:
        return callback.assets

    def finish(self, job: wan_pb2.WanJob, callback: wan_pb2.WanCallback, is_enhanced_type: bool) -> None:
        callback.metadata.enhancement_source = job.enhancement_source or job_pb2.ENHANCEMENT_SOURCE_NONE
        # No source at all means that the request switched the enhancement of its type off.
        callback.metadata.auto_enhancement = bool(job.enhancement_source and is_enhanced_type)

    def abilities(self, job: wan_pb2.WanJob) -> list[tuple[str, str]]:
        # A mode that is not resolved yet needs a model that takes pictures at all.
        return needed_by_video(job) or [("reference_single", field) for field in self._addresses(job)]

    def workload(self, job: wan_pb2.WanJob) -> Workload:
        latents = 1 + math.ceil((job.config.frames - 1) / FRAMES_PER_LATENT)
        sampling = job.sampling
        return denoising_work(
            self.type_name(job), self.size(job), sampling.steps, sampling.guidance_scale, latents, "latents"
        )

    def draw_seeds(self, job: wan_pb2.WanJob) -> None:
        if not job.sampling.HasField("seed"):
            job.sampling.seed = secrets.randbelow(SEEDS)
            decide("sampling.seed", "", str(job.sampling.seed), "drawn at random")

    def size(self, job: wan_pb2.WanJob) -> Size:
        return Size(job.config.width, job.config.height)

    def size_values(self, size: Size) -> dict[str, Any]:
        return {"config": {"width": size.width, "height": size.height}}

    def problems(self, job: wan_pb2.WanJob) -> Iterator[tuple[tuple[str, ...], str]]:
        if job.config.HasField("width") != job.config.HasField("height"):
            present = "width" if job.config.HasField("width") else "height"
            yield ("config", present), "width and height go together: give both or neither"

    def read_once(self, job: wan_pb2.WanJob) -> dict[str, str]:
        return {"prompt": job.prompt, "sampling.negative_prompt": job.sampling.negative_prompt}

    def reference_fields(self, job: wan_pb2.WanJob) -> list[str]:
        has_mode = job.config.reference_mode not in (wan_pb2.WAN_REFERENCE_MODE_UNSPECIFIED, NONE)
        return (["config.reference_mode"] if has_mode else []) + self._addresses(job)

    def resolve_references(
        self, job: wan_pb2.WanJob, asked: wan_pb2.WanJob, use: "edge_pb2.ReferenceUse",
        enhancement: "edge_pb2.Enhancement",
    ) -> None:  # fmt: skip
        super().resolve_references(job, asked, use, enhancement)
        resolve_video_references(job, asked)

    def wanted_references(self, job: wan_pb2.WanJob) -> list[WantedReference]:
        used = [slot for slot in SLOTS if job.config.reference_mode in slot.modes]
        return [found for slot in used if (found := named(job, slot))]

    def _addresses(self, job: wan_pb2.WanJob) -> list[str]:
        """The fields that name an image, those of `config` first."""
        ordered = sorted(ADDRESSES, key=lambda path: path.startswith("metadata."))
        return [path for path in ordered if _value(job, path)]


def _value(job: wan_pb2.WanJob, path: str) -> str:
    part, _, field = path.partition(".")
    return str(getattr(getattr(job, part), field))
