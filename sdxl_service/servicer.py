"""The image worker's handler: message -> engine call -> events."""

import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import grpc

from atelier.contracts.capabilities import needed_by_image
from atelier.contracts.errors import AssetNotFound, CapabilityMissing, InvalidRequest, ReferenceUnusable, Violation
from atelier.contracts.sizes import size_problem
from atelier.contracts.validation import enum_word, enum_words
from atelier.pb.job.v1 import job_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2, sdxl_pb2_grpc
from sdxl_service.config import SdxlConfig
from sdxl_service.engine.interface import ImageRequest, Pictures, Reference
from shared.assets import AssetStore, Stored
from shared.worker.app import Kind, Worker
from shared.worker.engine import Engine, Model
from shared.worker.jobs import Jobs
from shared.worker.models import MakeEngine
from shared.worker.progress import Meter

log = logging.getLogger(__name__)

ImageEngine = Engine[ImageRequest, Pictures]

KIND = Kind(
    worker_type="sdxl",
    service="atelier.sdxl.v1.SdxlService",
    job_types=enum_words(sdxl_pb2.SdxlJobType.DESCRIPTOR),
)
# The fields of the request behind those of ImageRequest.
FIELDS = {
    "prompt": "job.prompt",
    "negative_prompt": "job.config.negative_prompt",
    "weights": "job.compel_weights",
    "denoise": "job.references.denoise",
    "resolution": "job.config.resolution",
    "scheduler": "job.sampling.scheduler",
    "clip_skip": "job.sampling.clip_skip",
}


class SdxlServicer(sdxl_pb2_grpc.SdxlServiceServicer):
    """Executes image jobs exactly as they are given."""

    def __init__(self, worker_id: str, jobs: Jobs[ImageRequest, Pictures], assets: AssetStore) -> None:
        self._worker_id, self._jobs, self._assets = worker_id, jobs, assets

    async def Generate(
        self, request: sdxl_pb2.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[sdxl_pb2.GenerateResponse]:
        job, meter, model = request.job, Meter(), self._jobs.model
        refuse_impossible(job, model)
        self._jobs.slots.check()  # before a whole picture is loaded for a job that has no place
        wanted = image_request(job, model.name, await self._reference(job))
        async with aclosing(self._jobs.execute(wanted, model.name, meter, FIELDS)) as events:
            async for event in events:
                if isinstance(event, Pictures):
                    drawn = event
                else:
                    yield sdxl_pb2.GenerateResponse(progress=event)
        yield sdxl_pb2.GenerateResponse(progress=meter.progress(job_pb2.PHASE_STORING))
        files = [picture.png for picture in drawn.pictures]
        stored = await self._assets.put_all(job.user_id, job.id, request.attempt, files)
        yield sdxl_pb2.GenerateResponse(callback=self._callback(job, drawn, stored, model, meter))

    async def _reference(self, job: sdxl_pb2.SdxlJob) -> Reference | None:
        """The picture that a job starts from, the very one that the edge has checked. Raises ReferenceUnusable."""
        if not job.references.HasField("image"):
            return None
        image = job.references.image
        try:
            content = await self._assets.read(image.key)
        except AssetNotFound:
            raise ReferenceUnusable("job.references.image: this picture is not in the asset store") from None
        if hashlib.sha256(content).hexdigest() != image.sha256:
            raise ReferenceUnusable("job.references.image: this is not the picture that the edge has checked")
        return Reference(content, job.references.denoise, _kept(job))

    def _callback(
        self, job: sdxl_pb2.SdxlJob, drawn: Pictures, stored: Sequence[Stored], model: Model, meter: Meter
    ) -> sdxl_pb2.SdxlCallback:
        log.info("job completed", extra={"job_id": job.id, "seconds": round(meter.elapsed, 3)})
        return sdxl_pb2.SdxlCallback(
            job_id=job.id,
            worker_id=self._worker_id,
            status=job_pb2.JOB_STATUS_COMPLETED,
            assets=[_asset(drawn, index, file) for index, file in enumerate(stored)],
            metadata=sdxl_pb2.SdxlCallbackMetadata(
                compel_enhancement=drawn.weighted,
                reference_mode=_reference_mode(drawn),
                processing_time=meter.elapsed,
                vram_used=drawn.vram_used,
                model_used=model.real_name,
            ),
        )


def _kept(job: sdxl_pb2.SdxlJob) -> str:
    """What of the reference is kept, as the specification's word."""
    return enum_word("ReferenceType", sdxl_pb2.ReferenceType.Name(job.metadata.reference_type))


def _reference_mode(drawn: Pictures) -> "sdxl_pb2.SdxlReferenceMode":
    mode = f"SDXL_REFERENCE_MODE_{drawn.kept.upper() or 'NONE'}"
    return cast("sdxl_pb2.SdxlReferenceMode", sdxl_pb2.SdxlReferenceMode.Value(mode))


def _asset(drawn: Pictures, index: int, stored: Stored) -> sdxl_pb2.SdxlAsset:
    picture = drawn.pictures[index]
    metadata = sdxl_pb2.SdxlAssetMetadata(
        width=picture.width,
        height=picture.height,
        format=stored.media.extension,
        batch_size=len(drawn.pictures),
        steps=picture.steps,
        guidance_scale=picture.guidance_scale,
        seed=picture.seed,
        bytes=stored.bytes,
        sha256=stored.sha256,
        mime_type=stored.media.mime_type,
    )
    return sdxl_pb2.SdxlAsset(type=job_pb2.ASSET_TYPE_IMAGE, key=stored.key, metadata=metadata)


def refuse_impossible(job: sdxl_pb2.SdxlJob, model: Model) -> None:
    """Raises CapabilityMissing or InvalidRequest for what the loaded model cannot do."""
    for ability, field in needed_by_image(job):
        if ability not in model.capabilities:
            raise CapabilityMissing(f"job.{field}: {model.real_name} cannot do {ability}")
    width, height = size(job)
    if problem := size_problem(width, height, model):
        raise InvalidRequest(Violation(FIELDS["resolution"], problem))


def image_request(job: sdxl_pb2.SdxlJob, model: str, reference: Reference | None) -> ImageRequest:
    """What the engine is asked: what the job says, field by field, and the picture it starts from."""
    width, height = size(job)
    return ImageRequest(
        prompt=job.prompt,
        negative_prompt=job.config.negative_prompt,
        width=width,
        height=height,
        steps=job.config.steps,
        guidance_scale=job.config.guidance_scale,
        seeds=tuple(job.sampling.seeds),
        model=model,
        scheduler=enum_word("SdxlScheduler", sdxl_pb2.SdxlScheduler.Name(job.sampling.scheduler)),
        clip_skip=job.sampling.clip_skip,
        weighted=job.compel_enabled,
        weights=job.compel_weights,
        reference=reference,
    )


def size(job: sdxl_pb2.SdxlJob) -> tuple[int, int]:
    """Width and height in pixels."""
    width, _, height = job.config.resolution.partition("x")
    return int(width), int(height)


def sdxl_worker(config: SdxlConfig, make_engine: MakeEngine[ImageEngine]) -> Worker[ImageRequest, Pictures]:
    """The image worker, put together. For `make_engine` see Models."""
    assets = AssetStore(config.assets)

    def add_servicer(jobs: Jobs[ImageRequest, Pictures], server: grpc.aio.Server) -> None:
        sdxl_pb2_grpc.add_SdxlServiceServicer_to_server(SdxlServicer(config.worker_id, jobs, assets), server)

    return Worker(config, KIND, config.models, make_engine, add_servicer)
