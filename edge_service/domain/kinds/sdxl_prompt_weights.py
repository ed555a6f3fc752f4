"""Weights in the prompts of an image job: whether they count, and whether they can be read at all.

The worker reads them again, by the same module. What cannot be read is refused here, before anything is queued.
"""

from collections.abc import Mapping

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.contracts.prompt_weights import Unreadable, has_weights, read
from atelier.pb.sdxl.v1 import sdxl_pb2
from edge_service.domain.decisions import decide


def resolve(job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob) -> None:
    """Completes `compel_enabled` of a job that presets have filled; `asked` is the request's own.

    Raises InvalidRequest for weights that have no effect, or that cannot be read.
    """
    _set_enabled(job, asked)
    texts = _texts(job)
    if job.compel_enabled:
        check(texts)
    elif found := [field for field, text in texts.items() if has_weights(text)]:
        why = f"{', '.join(found)}: weights such as (word:1.3) are plain text while compel is off"
        decide("compel_enabled", "false", "false", why, notable=True)


def check(texts: Mapping[str, str]) -> None:
    """Raises InvalidRequest, naming the fields, for texts of an image job whose weights cannot be read."""
    problems = []
    for field, text in texts.items():
        try:
            read(text)
        except Unreadable as error:
            problems.append(Violation(f"sdxl.{field}", str(error)))
    if problems:
        raise InvalidRequest(*problems)


def _set_enabled(job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob) -> None:
    if job.compel_enabled or not job.compel_weights:
        return
    if not asked.HasField("compel_enabled"):
        job.compel_enabled = True
        decide("compel_enabled", "false", "true", "there are compel_weights")
        return
    if asked.compel_weights:
        says = "has no effect while compel_enabled is false: leave one of them out"
        raise InvalidRequest(Violation("sdxl.compel_weights", says))
    job.ClearField("compel_weights")
    why = "those of the preset have no effect while compel_enabled is false"
    decide("compel_weights", "", "", why, notable=True)


def _texts(job: sdxl_pb2.SdxlJob) -> dict[str, str]:
    return {
        "prompt": job.prompt, "config.negative_prompt": job.config.negative_prompt, "compel_weights": job.compel_weights
    }  # fmt: skip
