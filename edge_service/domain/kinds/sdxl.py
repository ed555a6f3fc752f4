"""SDXL: images from a prompt, and from a reference image."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from atelier.contracts.capabilities import needed_by_image
from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.prompt_weights import Unreadable, read
from atelier.contracts.validation import enum_word, enum_words
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2, sdxl_pb2_grpc
from edge_service.domain.decisions import decide
from edge_service.domain.kinds import sdxl_prompt_weights
from edge_service.domain.kinds.kind import Kind, Size, WantedReference, Workload, denoising_work
from edge_service.domain.kinds.sdxl_references import USES, resolve_image_reference

SEEDS = 2**31
REFERENCE = "metadata.reference_image_url"


class SdxlKind(Kind[sdxl_pb2.SdxlJob, sdxl_pb2.SdxlCallback]):
    """See `Kind`."""

    worker_type = "sdxl"
    job_class, callback_class = sdxl_pb2.SdxlJob, sdxl_pb2.SdxlCallback
    stub_class = sdxl_pb2_grpc.SdxlServiceStub
    type_names = tuple(enum_words(sdxl_pb2.SdxlJobType.DESCRIPTOR))
    enhanced_by = "qwen_instruct"
    negative_prompt = "config.negative_prompt"
    weights_prompts = True
    size_fields = ("config.resolution",)
    reference_addresses = (REFERENCE,)
    optional_abilities = dict.fromkeys(("compel_enabled", "compel_weights"), "compel") | dict.fromkeys(
        (REFERENCE, "metadata.reference_type", "metadata.reference_strength"), "reference_"
    )
    ability_choices = ("metadata.reference_type",)
    not_content = frozenset({
        "atelier.sdxl.v1.SdxlJob.id",
        "atelier.sdxl.v1.SdxlJob.user_id",
        "atelier.sdxl.v1.SdxlConfig.resolution",
        "atelier.sdxl.v1.SdxlMetadata.reference_image_url",
    })  # fmt: skip

    def type_name(self, job: sdxl_pb2.SdxlJob) -> str:
        return enum_word("SdxlJobType", sdxl_pb2.SdxlJobType.Name(job.type))

    def set_ids(self, job: sdxl_pb2.SdxlJob, job_id: str, owner: str) -> None:
        job.id, job.user_id = job_id, owner

    def request(self, job: sdxl_pb2.SdxlJob, job_id: str, owner: str, attempt: int = 0) -> sdxl_pb2.GenerateRequest:
        return sdxl_pb2.GenerateRequest(job=job, attempt=attempt)

    def sample(self) -> dict[str, Any]:
        return {"prompt": "check", "id": "check", "user_id": "check"}

    def files(self, callback: sdxl_pb2.SdxlCallback) -> Sequence[sdxl_pb2.SdxlAsset]:
        return callback.assets

    def finish(self, job: sdxl_pb2.SdxlJob, callback: sdxl_pb2.SdxlCallback, is_enhanced_type: bool) -> None:
        callback.metadata.enhancement_source = job.enhancement_source or job_pb2.ENHANCEMENT_SOURCE_NONE

    def abilities(self, job: sdxl_pb2.SdxlJob) -> list[tuple[str, str]]:
        return needed_by_image(job)

    def workload(self, job: sdxl_pb2.SdxlJob) -> Workload:
        config = job.config
        return denoising_work(
            self.type_name(job), self.size(job), config.steps, config.guidance_scale, config.num_images, "images"
        )

    def draw_seeds(self, job: sdxl_pb2.SdxlJob) -> None:
        config, seeds = job.config, job.sampling.seeds
        if seeds and len(seeds) != config.num_images:
            description = f"must have one seed per image ({config.num_images}), got {len(seeds)}"
            raise InvalidRequest(Violation("sdxl.sampling.seeds", description))
        if seeds:
            config.seed = seeds[0]
            decide("config.seed", "", str(seeds[0]), "first of sampling.seeds")
            return
        if not config.HasField("seed"):
            config.seed = secrets.randbelow(SEEDS)
            decide("config.seed", "", str(config.seed), "drawn at random")
        seeds.extend((config.seed + index) % SEEDS for index in range(config.num_images))
        decide("sampling.seeds", "", ", ".join(map(str, seeds)), "config.seed + index of the image")

    def size(self, job: sdxl_pb2.SdxlJob) -> Size:
        return Size.of(job.config.resolution)

    def size_values(self, size: Size) -> dict[str, Any]:
        return {"config": {"resolution": f"{size.width}x{size.height}"}}

    def problems(self, job: sdxl_pb2.SdxlJob) -> Iterator[tuple[tuple[str, ...], str]]:
        try:
            read(job.compel_weights)
        except Unreadable as error:
            yield ("compel_weights",), str(error)

    def read_once(self, job: sdxl_pb2.SdxlJob) -> dict[str, str]:
        if job.compel_enabled:  # compel reads texts in as many pieces as it takes
            return {}
        return {"prompt": job.prompt, "config.negative_prompt": job.config.negative_prompt}

    def resolve_prompt_weights(self, job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob) -> None:
        sdxl_prompt_weights.resolve(job, asked)

    def check_prompt_weights(self, job: sdxl_pb2.SdxlJob, texts: Mapping[str, str]) -> None:
        if job.compel_enabled:
            sdxl_prompt_weights.check(texts)

    def reference_fields(self, job: sdxl_pb2.SdxlJob) -> list[str]:
        return [f"metadata.{name}" for name in ("reference_image_url", "reference_type") if getattr(job.metadata, name)]

    def resolve_references(
        self, job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob, use: "edge_pb2.ReferenceUse",
        enhancement: "edge_pb2.Enhancement",
    ) -> None:  # fmt: skip
        resolve_image_reference(job, asked, USES.get(use), enhancement)

    def wanted_references(self, job: sdxl_pb2.SdxlJob) -> list[WantedReference]:
        value = job.metadata.reference_image_url
        return [WantedReference(REFERENCE, value, "image")] if value else []
