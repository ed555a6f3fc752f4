"""From a client's request to the complete job a worker executes, with the decisions that led there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_service.intake.capabilities import check_capabilities
from edge_service.intake.job_types import WorkerJob
from edge_service.intake.presets import Filled, fill
from shared.errors import NotImplementedYet
from shared.pb.atelier.chat.v1 import chat_pb2
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.worker.v1 import worker_pb2

DEFAULT_DEADLINE_SECONDS = 3600.0
# Fields of the contract without an effect yet. A control that does nothing would be a lie, so it is refused.
NOT_YET = ("webhook", "priority", "content_mode")


@dataclass(frozen=True)
class Plan:
    """What a worker is to execute: complete but for the ids, which the store gives."""

    type_name: str
    worker_type: str
    job: WorkerJob
    decisions: list[edge_pb2.Decision]
    deadline_seconds: float


def plan_job(request: edge_pb2.SubmitJobRequest, models: Mapping[str, Sequence[worker_pb2.Model]]) -> Plan:
    """Plans a submitted job. `models` are those of the connected workers, by worker type."""
    for field in NOT_YET:
        if request.HasField(field) if field in ("webhook", "priority") else getattr(request, field):
            raise NotImplementedYet(f"{field}: is part of the contract and not built yet; leave it out")
    if request.enhancement == edge_pb2.ENHANCEMENT_ON:
        raise NotImplementedYet("enhancement: prompt enhancement is not built yet; leave it out or switch it off")
    job: WorkerJob = getattr(request, request.WhichOneof("job") or "")
    deadline = request.deadline.ToNanoseconds() / 1e9 if request.HasField("deadline") else DEFAULT_DEADLINE_SECONDS
    return _planned(fill(job, request.preset), models, deadline)


def plan_chat(request: chat_pb2.ChatRequest, models: Mapping[str, Sequence[worker_pb2.Model]]) -> Plan:
    """Plans an interactive turn."""
    return _planned(fill(request, ""), models, DEFAULT_DEADLINE_SECONDS)


def _planned(filled: Filled, models: Mapping[str, Sequence[worker_pb2.Model]], deadline: float) -> Plan:
    if filled.job_type.enhanced:
        raise NotImplementedYet(f"type: {filled.type_name} enhances its prompt, which is not built yet")
    if isinstance(filled.job, chat_pb2.ChatRequest) and filled.job.sfw_mode:
        raise NotImplementedYet("sfw_mode: content rules are not built yet, so nothing could keep the promise")
    worker_type = filled.job_type.worker_type
    check_capabilities(filled.job, models.get(worker_type, ()))
    return Plan(filled.type_name, worker_type, filled.job, filled.decisions, deadline)
