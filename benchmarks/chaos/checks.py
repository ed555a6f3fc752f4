"""What must hold between the history and the final store, a function a rule. Each yields what breaks it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from atelier.contracts.errors import to_job_error
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from benchmarks.chaos.history import History
from benchmarks.chaos.store import ENDED, Final, Job
from benchmarks.chaos.work import Note, Work, picture, words
from edge_service.queue.retries import MAX_ATTEMPTS
from edge_service.queue.rows import status_word

MAX_OF_REASON = {to_job_error(kind("")).reason: most for kind, most in MAX_ATTEMPTS.items()}


@dataclass(frozen=True)
class Violation:
    """A rule that was broken, by which job, and how."""

    rule: str
    job_id: str
    what: str
    context: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n    ".join([f"{self.rule}: {self.job_id} {self.what}", *self.context])


@dataclass(frozen=True)
class Evidence:
    """What the rules are checked on."""

    history: History
    final: Final
    notes: Sequence[Note]


Found = Iterator[tuple[str, str]]
Rule = Callable[[Evidence], Found]


def check(evidence: Evidence) -> list[Violation]:
    """Every violation of every rule, with the history of the job that it concerns."""
    found = []
    for rule in RULES:
        for job_id, what in rule(evidence):
            context = [entry.line() for entry in evidence.history.of_job(job_id)]
            found.append(Violation(rule.__name__.lstrip("_"), job_id, what, context + _stored(evidence, job_id)))
    return found


def _stored(evidence: Evidence, job_id: str) -> list[str]:
    job = evidence.final.jobs.get(job_id)
    if job is None:
        return ["not in the store"]
    tag = prompt_of(job) and Work.of(prompt_of(job)).tag
    lines = [
        f"stored: {job.status}, attempt {job.row['attempt']}, {len(job.events)} events, deadline {job.row['deadline']}"
    ]
    for row in job.attempts:
        lines.append(
            f"attempt {row['number']} on {row['worker_id']}: {row['started']} to {row['ended']} {row['reason']}"
        )
    for row in job.events:
        lines.append(f"event {row['sequence']} at {row['time']}: {_shown(row['event'])}")
    return lines + [f"{note.at:.3f} {note.worker} {note.what}" for note in evidence.notes if note.tag == tag]


def _shown(data: bytes) -> str:
    event = edge_pb2.JobEvent.FromString(data)
    kind = event.WhichOneof("event") or ""
    return f"{kind} {status_word(event.status)}" if kind == "status" else kind


def acknowledged_is_stored(evidence: Evidence) -> Found:
    for job_id in evidence.history.acknowledged():
        if job_id not in evidence.final.jobs:
            yield job_id, "was acknowledged and is not in the store"


def nothing_is_stored_unasked(evidence: Evidence) -> Found:
    """Each submission of the harness has a key, so a job without one was never asked for."""
    known = set(evidence.final.keys.values())
    for job_id in evidence.final.jobs:
        if job_id not in known:
            yield job_id, "is in the store and no key stands for it: it is a double"


def a_key_is_one_job(evidence: Evidence) -> Found:
    jobs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in evidence.history.entries:
        if entry.key and entry.reply:
            jobs[entry.user, entry.key].add(entry.reply.id)
    for (user, key), found in jobs.items():
        found.add(evidence.final.keys.get((user, key), ""))
        if len(found) > 1:
            yield min(found), f"key {key} of {user} stands for {sorted(found)}"


def a_job_is_one_prompt(evidence: Evidence) -> Found:
    seen: dict[str, str] = {}
    for job in evidence.final.jobs.values():
        work = Work.of(prompt_of(job))
        if job.row["retry_of"] is None and seen.setdefault(work.tag, job.id) != job.id:
            yield job.id, f"was stored for {work.tag}, as {seen[work.tag]} was"


def every_job_ended(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        if job.status not in ENDED or job.row["ended"] is None:
            yield job.id, f"is stuck: {job.status}"


def an_end_is_final(evidence: Evidence) -> Found:
    """What a client was told once is what is stored in the end."""
    for entry in evidence.history.entries:
        if entry.reply and (told := status_word(entry.reply.status)) in ENDED:
            job = evidence.final.jobs.get(entry.reply.id)
            if job and job.status != told:
                yield job.id, f"was told to be {told} ({entry.operation}) and is {job.status}"
    for watch in evidence.history.watches:
        for event in watch.events:
            job = evidence.final.jobs.get(watch.job_id)
            if event.HasField("ended") and job and status_word(event.ended.status) != job.status:
                yield job.id, f"was told to be {status_word(event.ended.status)} (watch) and is {job.status}"


def a_cancel_ends_the_job(evidence: Evidence) -> Found:
    for entry in evidence.history.entries:
        if entry.operation == "cancel" and entry.reply and status_word(entry.reply.status) not in ENDED:
            yield entry.reply.id, f"was cancelled, and the answer says {status_word(entry.reply.status)}"


def stored_events_have_no_gap(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        sequences = [row["sequence"] for row in job.events]
        if sequences != list(range(1, len(sequences) + 1)) or job.row["last_sequence"] != len(sequences):
            yield job.id, f"has the events {sequences}, the last being {job.row['last_sequence']}"


def the_last_event_ends_the_job(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        events = [edge_pb2.JobEvent.FromString(row["event"]) for row in job.events]
        ends = [number for number, event in enumerate(events, 1) if event.HasField("ended")]
        if job.status in ENDED and ends != [len(events)]:
            yield job.id, f"has terminal events {ends} of {len(events)}"
        if ends and status_word(events[-1].ended.status) != job.status:
            yield job.id, f"is {job.status}, and its last event says {status_word(events[-1].ended.status)}"


def watchers_saw_what_is_stored(evidence: Evidence) -> Found:
    for watch in evidence.history.watches:
        job = evidence.final.jobs.get(watch.job_id)
        seen = [event.sequence for event in watch.events]
        if seen != list(range(watch.after + 1, watch.after + 1 + len(seen))):
            yield watch.job_id, f"a watcher from {watch.after} on saw {seen} over {watch.connections} connections"
        elif job and (different := [event.sequence for event in watch.events if _differs(event, job)]):
            yield watch.job_id, f"a watcher saw other events than are stored: {different}"
        elif job and watch.finished and watch.after + len(seen) != job.row["last_sequence"]:
            yield watch.job_id, f"a watch ended at {watch.after + len(seen)} of {job.row['last_sequence']}"


def _differs(seen: edge_pb2.JobEvent, job: Job) -> bool:
    stored = edge_pb2.JobEvent.FromString(job.events[seen.sequence - 1]["event"])
    if seen.HasField("ended"):
        return not stored.HasField("ended")
    plain = edge_pb2.JobEvent()
    plain.CopyFrom(seen)
    plain.sequence = 0
    plain.ClearField("time")
    return plain != stored


def results_follow_from_requests(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        if job.status != "completed":
            continue
        if job.row["callback"] is None:
            yield job.id, "is completed without a callback"
        elif job.row["worker_type"] == "chat":
            request = chat_pb2.ChatRequest.FromString(job.row["plan"])
            told = chat_pb2.ChatCallback.FromString(job.row["callback"]).assets[0].content
            if told.split() != words(prompt_of(job), request.max_tokens):
                yield job.id, f"answered {told[:60]!r}"
            deltas = [edge_pb2.JobEvent.FromString(row["event"]).delta.text for row in job.events]
            if not "".join(deltas).endswith(told):
                yield job.id, f"its events do not make up its answer: {deltas}"


def assets_are_what_was_asked(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        if job.row["worker_type"] != "sdxl" or job.status != "completed":
            if job.assets:
                yield job.id, f"is {job.status} and has assets"
            continue
        plan = sdxl_pb2.SdxlJob.FromString(job.row["plan"])
        wanted = [_sha256(picture(plan.prompt, seed, plan.config.steps)) for seed in plan.sampling.seeds]
        if sorted(row["sha256"] for row in job.assets) != sorted(wanted):
            yield job.id, f"has {len(job.assets)} assets, not those that it asked for"
        told = [asset.key for asset in sdxl_pb2.SdxlCallback.FromString(job.row["callback"] or b"").assets]
        if sorted(told) != sorted(row["key"] for row in job.assets):
            yield job.id, f"its callback names {told}"


def every_asset_has_its_file(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        for row in job.assets:
            path = evidence.final.library / row["key"]
            if not path.exists():
                yield job.id, f"{row['key']} has no file"
            elif _sha256(path.read_bytes()) != row["sha256"]:
                yield job.id, f"{row['key']} has another file"


def no_file_is_left_over(evidence: Evidence) -> Found:
    """Of completed jobs only: a killed worker may leave the files of its attempt to the housekeeping."""
    for job in evidence.final.jobs.values():
        folder = evidence.final.library / str(job.row["owner"]) / job.id
        if job.status != "completed" or len(job.attempts) > 1:
            continue
        files = {str(path.relative_to(evidence.final.library)) for path in folder.rglob("*") if path.is_file()}
        if extra := files - {row["key"] for row in job.assets}:
            yield job.id, f"left {sorted(extra)}"


def the_ledger_adds_up(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        kinds = [row["kind"] for row in job.ledger]
        if kinds != (["reserve", "settle"] if job.status in ENDED else ["reserve"]):
            yield job.id, f"is {job.status} and has the ledger rows {kinds}"
        cost = sum(row["credits"] for row in job.ledger)
        if job.status in ENDED and cost != (job.row["credits"] if job.status == "completed" else 0):
            yield job.id, f"is {job.status}, was to cost {job.row['credits']} and cost {cost}"


def every_end_is_in_the_outbox_once(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        ends = [row["status"] for row in job.outbox if row["number"] == 2]
        if ends != ([job.status] if job.row["webhook_url"] and job.status in ENDED else []):
            yield job.id, f"is {job.status} and its outbox tells the ends {ends}"


def attempts_are_limited(evidence: Evidence) -> Found:
    for job in evidence.final.jobs.values():
        reasons = Counter(row["reason"] for row in job.attempts if row["reason"] is not None)
        for reason, count in reasons.items():
            if count > MAX_OF_REASON.get(reason, 1):
                yield job.id, f"ended {count} attempts for reason {reason}"
        if job.status in ENDED and any(row["ended"] is None for row in job.attempts):
            yield job.id, "ended and has an attempt that did not"


def the_queue_is_counted(evidence: Evidence) -> Found:
    """Once everything has ended no line may say that something waits."""
    if all(job.status in ENDED for job in evidence.final.jobs.values()):
        for row in evidence.final.shares:
            if row["queued"]:
                yield row["owner"], f"has {row['queued']} jobs queued in its share, and none waits"


RULES: tuple[Rule, ...] = (
    acknowledged_is_stored,
    nothing_is_stored_unasked,
    a_key_is_one_job,
    a_job_is_one_prompt,
    every_job_ended,
    an_end_is_final,
    a_cancel_ends_the_job,
    stored_events_have_no_gap,
    the_last_event_ends_the_job,
    watchers_saw_what_is_stored,
    results_follow_from_requests,
    assets_are_what_was_asked,
    every_asset_has_its_file,
    no_file_is_left_over,
    the_ledger_adds_up,
    every_end_is_in_the_outbox_once,
    attempts_are_limited,
    the_queue_is_counted,
)


def prompt_of(job: Job) -> str:
    """The text that the engine was given."""
    if job.row["worker_type"] == "chat":
        return chat_pb2.ChatRequest.FromString(job.row["plan"]).messages[-1].content
    return sdxl_pb2.SdxlJob.FromString(job.row["plan"]).prompt


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
