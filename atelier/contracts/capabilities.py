"""Which optional abilities of a model a job needs: once, for the edge that plans it and the worker that executes it.

An ability has the name under which `WorkerService.Describe` lists it, such as "compel" or "reference_style".
"""

from atelier.contracts.validation import enum_word
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2

# An ability, and the path in the job of the field that asks for it.
Needed = tuple[str, str]


def needed_by_image(job: sdxl_pb2.SdxlJob) -> list[Needed]:
    """Returns what an image job needs; a picture without a type is a composition."""
    needed: list[Needed] = []
    if job.compel_enabled or job.compel_weights:
        needed.append(("compel", "compel_enabled" if job.compel_enabled else "compel_weights"))
    pictures = {
        "metadata.reference_image_url": bool(job.metadata.reference_image_url),
        "references.image": job.references.HasField("image"),
    }
    picture = next((path for path, is_there in pictures.items() if is_there), "")
    if picture or job.metadata.reference_type:
        kind = job.metadata.reference_type or sdxl_pb2.REFERENCE_TYPE_COMPOSITION
        is_default = kind == sdxl_pb2.REFERENCE_TYPE_COMPOSITION
        word = enum_word("ReferenceType", sdxl_pb2.ReferenceType.Name(kind))
        needed.append((f"reference_{word}", picture if picture and is_default else "metadata.reference_type"))
    return needed


def needed_by_video(job: wan_pb2.WanJob) -> list[Needed]:
    """Returns what a video or still of Wan needs; a mode that is not set needs nothing."""
    mode = job.config.reference_mode
    if mode in (wan_pb2.WAN_REFERENCE_MODE_UNSPECIFIED, wan_pb2.WAN_REFERENCE_MODE_NONE):
        return []
    return [
        (f"reference_{enum_word('WanReferenceMode', wan_pb2.WanReferenceMode.Name(mode))}", "config.reference_mode")
    ]
