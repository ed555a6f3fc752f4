"""Why a job is what it is and how it went, in words for people."""

from collections.abc import Iterator

from atelier.contracts.validation import enum_word
from atelier.errors import from_job_error, reason_word
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.results import Job


def notes(job: edge_pb2.Job) -> Iterator[str]:
    """What the sender of a job should know at once: its improved prompt, and the text that the model does not read."""
    for decision in (each for each in job.decisions if each.notable):
        if decision.field != "enhancement_source":
            yield f"{decision.field}: {decision.why}"
        elif decision.to == "none":
            yield decision.why
        else:
            yield f"{decision.to} improved the prompt: {_prompt(job)}"


def explained(job: edge_pb2.Job) -> str:
    """A job's prompts, its decisions, one a line, those of one reason under a heading of it, and how it went."""
    lines = [f"{job.id}: {job.type}, planned with policies {job.policy_version or 'unknown'}"]
    if job.original_prompt:
        lines.append(f"prompt as sent: {job.original_prompt}")
        lines += [f"prompt as run: {_prompt(job)}"] if _prompt(job) not in ("", job.original_prompt) else []
    return "\n".join([*lines, *_decisions(job), *_course(job)])


def _prompt(job: edge_pb2.Job) -> str:
    return job.sdxl.prompt or job.wan.prompt


def _decisions(job: edge_pb2.Job) -> Iterator[str]:
    heading = ""
    for decision in job.decisions:
        if decision.why != heading:
            yield f"{decision.why}:"
        heading = decision.why
        before = f"{getattr(decision, 'from')} -> " if getattr(decision, "from") else ""
        yield f"    {decision.field:<28} {before}{decision.to}".rstrip()


def _course(job: edge_pb2.Job) -> Iterator[str]:
    for attempt in job.attempts:
        if attempt.HasField("error"):
            yield f"attempt {attempt.number} on {attempt.worker_id} failed: {_error(attempt.error)}"
    yield f"status: {Job(job).status}" + (f": {_error(job.error)}" if job.HasField("error") else "")
    if job.HasField("webhook"):
        yield f"webhook: {_webhook(job.webhook)}"


def _error(error: job_pb2.JobError) -> str:
    found = from_job_error(error)
    return f"{found} ({reason_word(found).lower()})"


def _webhook(webhook: edge_pb2.WebhookDelivery) -> str:
    state = enum_word("WebhookState", edge_pb2.WebhookState.Name(webhook.state)).replace("_", " ")
    times = f", sent {webhook.attempts} time{'' if webhook.attempts == 1 else 's'}"
    problem = f", the last time in vain: {webhook.last_error}" if webhook.last_error else ""
    return f"{state}{times}{problem}, to {webhook.url}"
