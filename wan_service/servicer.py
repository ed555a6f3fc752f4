"""The video worker's handler: message -> engine call -> events."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import grpc

from atelier.contracts.errors import CapabilityMissing, InvalidRequest, Violation
from atelier.contracts.validation import enum_word, enum_words
from atelier.pb.job.v1 import job_pb2
from atelier.pb.wan.v1 import wan_pb2, wan_pb2_grpc
from shared.assets import AssetStore, Stored
from shared.blocking_worker import BlockingWorker, Jobs, Kind
from shared.progress import Meter
from shared.slots import Slots
from shared.worker_configs import size_problem
from wan_service.config import WanConfig
from wan_service.seam import Engine, LoadedModel, Step, VideoRequest, VideoResult

log = logging.getLogger(__name__)

KIND = Kind(
    worker_type="wan",
    service="atelier.wan.v1.WanService",
    model_name="wan_2.1",
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

    def __init__(self, worker_id: str, jobs: Jobs[Engine], assets: AssetStore) -> None:
        self._worker_id, self._jobs, self._assets = worker_id, jobs, assets

    async def Generate(
        self, request: wan_pb2.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[wan_pb2.GenerateResponse]:
        job, meter = request.job, Meter()
        refuse_impossible(job, self._jobs.engine.model)
        wanted = video_request(job)

        async def store(film: VideoResult) -> wan_pb2.WanCallback:
            [stored] = await self._assets.put_all(job.user_id, job.id, request.attempt, [film.content])
            return self._callback(job, film, stored, meter)

        filming = self._jobs.execute(lambda engine, report: engine.generate(wanted, report), store, meter, FIELDS)
        async with aclosing(filming) as events:
            async for event in events:
                if isinstance(event, job_pb2.Progress):
                    yield wan_pb2.GenerateResponse(progress=event)
                else:
                    yield wan_pb2.GenerateResponse(callback=event)

    def _callback(self, job: wan_pb2.WanJob, film: VideoResult, stored: Stored, meter: Meter) -> wan_pb2.WanCallback:
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
                model_used=self._jobs.engine.model.real_name,
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


def refuse_impossible(job: wan_pb2.WanJob, model: LoadedModel) -> None:
    """Raises CapabilityMissing or InvalidRequest for what the loaded model cannot do."""
    for ability, field in _abilities(job):
        if ability not in model.capabilities:
            raise CapabilityMissing(f"{field}: {model.real_name} cannot do {ability}")
    if problem := size_problem(job.config.width, job.config.height, model):
        raise InvalidRequest(Violation("job.config.width x job.config.height", problem))


def _abilities(job: wan_pb2.WanJob) -> Iterator[tuple[str, str]]:
    """The optional abilities a job needs, each with the field that asks for it."""
    mode = job.config.reference_mode
    if mode != wan_pb2.WAN_REFERENCE_MODE_NONE:
        word = enum_word("WanReferenceMode", wan_pb2.WanReferenceMode.Name(mode))
        yield f"reference_{word}", "job.config.reference_mode"


def video_request(job: wan_pb2.WanJob) -> VideoRequest:
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
        still=job.type in STILLS,
    )


def wan_worker(config: WanConfig, make_engine: Callable[[], Engine]) -> BlockingWorker[Engine]:
    """The video worker, put together. `make_engine` is called when it is time to load."""
    jobs = Jobs(Slots(config.slots, config.waiting), make_engine, Step)
    servicer = WanServicer(config.worker_id, jobs, AssetStore(config.assets))
    return BlockingWorker(
        config, KIND, jobs, lambda server: wan_pb2_grpc.add_WanServiceServicer_to_server(servicer, server)
    )
