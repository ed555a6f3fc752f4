"""The table of job types in `policies/job_types.yaml`: which worker executes each, and with which values."""

from typing import Any

from pydantic import Field, model_validator

from edge_service.policy import Strict, policy
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2
from shared.spec_json import from_spec_dict

WorkerJob = sdxl_pb2.SdxlJob | wan_pb2.WanJob | chat_pb2.ChatRequest
JOB_CLASSES: dict[str, type[WorkerJob]] = {
    "sdxl": sdxl_pb2.SdxlJob,
    "wan": wan_pb2.WanJob,
    "chat": chat_pb2.ChatRequest,
}
CHAT_TURN = "chat_turn"


class JobType(Strict):
    """One job type. `values` is a partial job in the specification's JSON; what it names fills what a request lacks."""

    worker_type: str
    enhanced: bool = False
    credits: int = Field(ge=0)
    values: dict[str, Any]

    @model_validator(mode="after")
    def _values_parse(self) -> "JobType":
        self.defaults()
        return self

    def defaults(self) -> WorkerJob:
        """The values as a partial job message."""
        return from_spec_dict(JOB_CLASSES[self.worker_type], self.values)


class JobTypes(Strict):
    """The whole table."""

    version: int
    job_types: dict[str, JobType]


def job_types() -> dict[str, JobType]:
    """The table that is in force."""
    return policy("job_types", JobTypes).job_types
