"""The video worker's handler: message -> engine call -> events."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from atelier.contracts.capabilities import needed_by_video
from atelier.contracts.errors import CapabilityMissing, InvalidRequest, Violation
from atelier.contracts.sizes import size_problem
from atelier.contracts.validation import enum_words
from atelier.pb.job.v1 import job_pb2
from atelier.pb.wan.v1 import wan_pb2, wan_pb2_grpc
from shared.assets import AssetStore, Stored
from shared.worker.app import Kind, Worker
from shared.worker.engine import Engine, Model
from shared.worker.jobs import Jobs
from shared.worker.models import MakeEngine
from shared.worker.progress import Meter
from wan_service.config import WanConfig
from wan_service.engine.interface import VideoRequest, VideoResult

log = logging.getLogger(__name__)

VideoEngine = Engine[VideoRequest, VideoResult]

KIND = Kind(
    worker_type="wan",
    service="atelier.wan.v1.WanService",
    job_types=enum_words(wan_pb2.WanJobType.DESCRIPTOR),
)
# The fields of the request behind those of VideoRequest.
FIELDS = {name: f"job.config.{name}" for name in ("width", "height", "frames")}
STILLS = {
    wan_pb2.WAN_JOB_TYPE_IMAGE_FAST,
    wan_pb2.WAN_JOB_TYPE_IMAGE_HIGH,
    wan_pb2.WAN_JOB_TYPE_IMAGE7B_FAST_ENHANCED,
    wan_pb2.WAN_JOB_TYPE_IMAGE7B_HIGH_ENHANCED,
}
ASSET_TYPES = {"image": job_pb2.ASSET_TYPE_IMAGE, "video": job_pb2.ASSET_TYPE_VIDEO}


class WanServicer(wan_pb2_grpc.WanServiceServicer):
    """Executes video and still jobs exactly as they are given."""

    def __init__(self, worker_id: str, jobs: Jobs[VideoRequest, VideoResult], assets: AssetStore) -> None:
        self._worker_id, self._jobs, self._assets = worker_id, jobs, assets

    async def Generate(
        self, request: wan_pb2.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[wan_pb2.GenerateResponse]:
        job, meter, model = request.job, Meter(), self._jobs.model
        refuse_impossible(job, model)
        wanted = video_request(job, model.name)
        async with aclosing(self._jobs.execute(wanted, model.name, meter, FIELDS)) as events:
            async for event in events:
                if isinstance(event, VideoResult):
                    film = event
                else:
                    yield wan_pb2.GenerateResponse(progress=event)
        yield wan_pb2.GenerateResponse(progress=meter.progress(job_pb2.PHASE_STORING))
        [stored] = await self._assets.put_all(job.user_id, job.id, request.attempt, [film.content])
        yield wan_pb2.GenerateResponse(callback=self._callback(job, film, stored, model, meter))

    def _callback(
        self, job: wan_pb2.WanJob, film: VideoResult, stored: Stored, model: Model, meter: Meter
    ) -> wan_pb2.WanCallback:
        log.info("job completed", extra={"job_id": job.id, "seconds": round(meter.elapsed, 3)})
        return wan_pb2.WanCallback(
            job_id=job.id,
            worker_id=self._worker_id,
            status=job_pb2.JOB_STATUS_COMPLETED,
            assets=[_asset(film, stored)],
            metadata=wan_pb2.WanCallbackMetadata(
                reference_mode=wan_pb2.WAN_REFERENCE_MODE_NONE,
                processing_time=meter.elapsed,
                vram_used=film.vram_used,
                model_used=model.real_name,
            ),
        )


def _asset(film: VideoResult, stored: Stored) -> wan_pb2.WanAsset:
    metadata = wan_pb2.WanAssetMetadata(
        width=film.width,
        height=film.height,
        frames=film.frames,
        fps=film.fps,
        duration=film.duration,
        format=stored.media.extension,
        bytes=stored.bytes,
        sha256=stored.sha256,
        mime_type=stored.media.mime_type,
        seed=film.seed,
        steps=film.steps,
        guidance_scale=film.guidance_scale,
    )
    return wan_pb2.WanAsset(type=ASSET_TYPES[stored.media.asset_type], key=stored.key, metadata=metadata)


def refuse_impossible(job: wan_pb2.WanJob, model: Model) -> None:
    """Raises CapabilityMissing or InvalidRequest for what the loaded model cannot do."""
    for ability, field in needed_by_video(job):
        if ability not in model.capabilities:
            raise CapabilityMissing(f"job.{field}: {model.real_name} cannot do {ability}")
    if problem := size_problem(job.config.width, job.config.height, model):
        raise InvalidRequest(Violation("job.config.width x job.config.height", problem))


def video_request(job: wan_pb2.WanJob, model: str) -> VideoRequest:
    """What the engine is asked: what the job says, field by field."""
    return VideoRequest(
        prompt=job.prompt,
        negative_prompt=job.sampling.negative_prompt,
        width=job.config.width,
        height=job.config.height,
        frames=job.config.frames,
        fps=job.config.fps,
        steps=job.sampling.steps,
        guidance_scale=job.sampling.guidance_scale,
        flow_shift=job.sampling.flow_shift,
        seed=job.sampling.seed,
        model=model,
        still=job.type in STILLS,
    )


def wan_worker(config: WanConfig, make_engine: MakeEngine[VideoEngine]) -> Worker[VideoRequest, VideoResult]:
    """The video worker, put together. For `make_engine` see Models."""
    assets = AssetStore(config.assets)

    def add_servicer(jobs: Jobs[VideoRequest, VideoResult], server: grpc.aio.Server) -> None:
        wan_pb2_grpc.add_WanServiceServicer_to_server(WanServicer(config.worker_id, jobs, assets), server)

    return Worker(config, KIND, config.models, make_engine, add_servicer)
