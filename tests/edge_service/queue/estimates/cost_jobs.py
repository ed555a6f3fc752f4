"""Jobs that are complete as far as their cost goes."""

from typing import Any

from edge_service.domain.job_types import WorkerJob, job_types
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.spec_json import from_spec_dict


def defaults(type_name: str) -> Any:
    """A complete job of a type, as far as its cost goes."""
    return job_types()[type_name].defaults()


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
