"""Weights in the prompts of an image job: whether they count, and whether they can be read at all.

The worker reads them again, by the same module. What cannot be read is refused here, before anything is queued.
"""

from collections.abc import Mapping

from edge_service.domain.decisions import decision
from edge_service.domain.job_types import WorkerJob
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.prompt_weights import Unreadable, has_weights, read


def weigh(job: WorkerJob, asked: WorkerJob) -> list[edge_pb2.Decision]:
    """Settles `compel_enabled` of a job that presets have filled; `asked` is the request's own.

    Raises InvalidRequest for weights that have no effect, or that cannot be read.
    """
    if not isinstance(job, sdxl_pb2.SdxlJob) or not isinstance(asked, sdxl_pb2.SdxlJob):
        return []
    decisions = _settle(job, asked)
    texts = _texts(job)
    if job.compel_enabled:
        check_weights(texts)
    elif found := [field for field, text in texts.items() if has_weights(text)]:
        why = f"{', '.join(found)}: weights such as (word:1.3) are plain text while compel is off"
        decisions.append(decision("compel_enabled", "false", "false", why, notable=True))
    return decisions


def check_weights(texts: Mapping[str, str]) -> None:
    """Raises InvalidRequest, naming the fields, for texts of an image job whose weights cannot be read."""
    problems = []
    for field, text in texts.items():
        try:
            read(text)
        except Unreadable as error:
            problems.append(Violation(f"sdxl.{field}", str(error)))
    if problems:
        raise InvalidRequest(*problems)


def _settle(job: sdxl_pb2.SdxlJob, asked: sdxl_pb2.SdxlJob) -> list[edge_pb2.Decision]:
    if job.compel_enabled or not job.compel_weights:
        return []
    if not asked.HasField("compel_enabled"):
        job.compel_enabled = True
        return [decision("compel_enabled", "false", "true", "there are compel_weights")]
    if asked.compel_weights:
        says = "has no effect while compel_enabled is false: leave one of them out"
        raise InvalidRequest(Violation("sdxl.compel_weights", says))
    job.ClearField("compel_weights")
    why = "those of the preset have no effect while compel_enabled is false"
    return [decision("compel_weights", "", "", why, notable=True)]


def _texts(job: sdxl_pb2.SdxlJob) -> dict[str, str]:
    return {
        "prompt": job.prompt, "config.negative_prompt": job.config.negative_prompt, "compel_weights": job.compel_weights
    }  # fmt: skip
