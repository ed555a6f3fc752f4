"""What a job says of its reference pictures, made whole and free of contradictions. Pure: nothing is fetched here.

`resolve_reference_options` runs after the presets and before the pictures are looked at (`references/resolve.py`).
What a request says outright
goes before everything else; what it says without an effect, or against itself, is refused with the field's name.
"""

from edge_service.domain.job_types import WorkerJob
from edge_service.domain.kinds.sdxl_references import USES, resolve_image_reference
from edge_service.domain.kinds.wan_references import SLOTS, Wanted, named, resolve_video_references
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2


def resolve_reference_options(
    job: WorkerJob, asked: WorkerJob, use: "edge_pb2.ReferenceUse" = edge_pb2.REFERENCE_USE_UNSPECIFIED,
    enhancement: "edge_pb2.Enhancement" = edge_pb2.ENHANCEMENT_UNSPECIFIED,
) -> list[edge_pb2.Decision]:  # fmt: skip
    """Completes `job`, which presets have filled; `asked` is the request's own. Raises InvalidRequest."""
    decisions: list[edge_pb2.Decision] = []
    if isinstance(job, sdxl_pb2.SdxlJob) and isinstance(asked, sdxl_pb2.SdxlJob):
        resolve_image_reference(job, asked, USES.get(use), enhancement, decisions)
        return decisions
    if use:
        raise InvalidRequest(Violation("reference_use", "only image jobs (sdxl) have it"))
    if isinstance(job, wan_pb2.WanJob) and isinstance(asked, wan_pb2.WanJob):
        resolve_video_references(job, asked, decisions)
    return decisions


def wanted(job: WorkerJob) -> list[Wanted]:
    """The pictures that a steered job names, each of them once."""
    if isinstance(job, sdxl_pb2.SdxlJob) and job.metadata.reference_image_url:
        return [Wanted("metadata.reference_image_url", job.metadata.reference_image_url, "image")]
    if isinstance(job, wan_pb2.WanJob):
        used = [slot for slot in SLOTS if job.config.reference_mode in slot.modes]
        return [found for slot in used if (found := named(job, slot))]
    return []


def clear_addresses(job: WorkerJob) -> None:
    """Takes the clients' words out of a job: a worker gets keys of pictures, never a URL."""
    if isinstance(job, sdxl_pb2.SdxlJob):
        job.metadata.ClearField("reference_image_url")
    if isinstance(job, wan_pb2.WanJob):
        for slot in SLOTS:
            job.config.ClearField(slot.field)
            job.metadata.ClearField(slot.fallback)


def reference_keys(job: WorkerJob) -> list[str]:
    """The keys of the pictures that a planned job was given."""
    if isinstance(job, sdxl_pb2.SdxlJob | wan_pb2.WanJob):
        pictures = (value for _, value in job.references.ListFields() if isinstance(value, job_pb2.Reference))
        return sorted({picture.key for picture in pictures})
    return []
