"""Jobs that are complete as far as their cost goes."""

from typing import Any

from atelier.contracts.json_form import from_spec_dict
from atelier.pb.chat.v1 import chat_pb2
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import KINDS, WorkerJob
from edge_service.domain.partial_job import partial_job


def defaults(type_name: str) -> Any:
    """A complete job of a type, as far as its cost goes."""
    entry = job_types()[type_name]
    about = {"type": type_name} if KINDS[entry.worker_type].has_prompt else {}
    return partial_job(entry.worker_type, {**entry.values, **about})


def sdxl(**config: Any) -> Any:
    job = defaults("sdxl_image_fast")
    for name, value in config.items():
        setattr(job.config, name, value)
    return job


def chat(words: int = 10, **fields: Any) -> WorkerJob:
    job = defaults("chat_turn")
    job.MergeFrom(from_spec_dict(chat_pb2.ChatRequest, {"messages": [{"role": "user", "content": "word " * words}]}))
    for name, value in fields.items():
        setattr(job, name, value)
    return job
