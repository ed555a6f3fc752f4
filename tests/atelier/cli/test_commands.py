"""The commands that talk to an edge, against a real server at its contract."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner, Result

from atelier.cli.app import COMMANDS, app
from atelier.cli.explaining import explained
from atelier.errors import OutOfMemory, PermissionDenied
from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from atelier.pb.wan.v1 import wan_pb2
from tests.kit.scripted_edge import ANSWER, JOB_ID, PNG, Script, ScriptedEdge

Run = Callable[..., Result]


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command in an empty folder, with the scripted edge for the running one."""
    monkeypatch.chdir(data)
    return lambda *words, **options: CliRunner().invoke(app, list(words), **options)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_an_image_is_made_and_saved_where_it_was_said(run: Run, data: Path, script: Script) -> None:
    result = run("image", "a red fox", "-n", "3", "--seed", "0", "--out", "pictures")
    saved = data / "pictures" / f"{JOB_ID}_image_0.png"
    assert result.exit_code == 0
    assert saved.read_bytes() == PNG
    assert f"pictures/{saved.name}  seed 0" in result.stdout
    assert script.submitted[0].sdxl.config.num_images == 3
    assert script.submitted[0].sdxl.config.HasField("seed")


def test_programs_get_every_event_as_a_json_line_and_nothing_else(run: Run, data: Path) -> None:
    result = run("image", "a red fox", "--json")
    first, *events, last = lines(result)
    assert first == {"job_id": JOB_ID}
    assert [event["sequence"] for event in events] == list(range(1, 8))
    assert events[0]["status"] == "queued"
    assert events[2]["progress"]["phase"] == "denoising"
    assert events[-1]["ended"]["status"] == "completed"
    assert last == {"saved": f"out/{JOB_ID}_image_0.png", "key": f"developer/{JOB_ID}/image_0.png"}
    assert result.stderr == ""


def test_a_video_is_asked_for_with_every_option(run: Run, script: Script) -> None:
    size = ("--width", "480", "--height", "832", "--frames", "5", "--fps", "8")
    sampling = ("--steps", "2", "--guidance-scale", "3.5", "--flow-shift", "2.0", "--seed", "1")
    result = run("video", "waves", "--type", "video_high", *size, *sampling, "--negative-prompt", "blur")
    assert result.exit_code == 0
    assert script.submitted[0].wan == wan_pb2.WanJob(
        type=wan_pb2.WAN_JOB_TYPE_VIDEO_HIGH,
        prompt="waves",
        config=wan_pb2.WanConfig(width=480, height=832, frames=5, fps=8),
        sampling=wan_pb2.WanSampling(steps=2, guidance_scale=3.5, flow_shift=2.0, seed=1, negative_prompt="blur"),
    )


def test_what_is_chosen_by_name_is_part_of_the_request(run: Run, script: Script) -> None:
    chosen = ("--preset", "sdxl_draft", "--aspect-ratio", "16:9", "--quality", "high", "--style", "photo")
    assert run("image", "a red fox", *chosen).exit_code == 0
    sent = script.submitted[0]
    assert (sent.preset, sent.aspect_ratio, sent.quality, sent.style) == ("sdxl_draft", "16:9", "high", "photo")
    assert run("video", "waves", "--aspect-ratio", "9:16").exit_code == 0
    assert script.submitted[1].aspect_ratio == "9:16"


def test_an_answer_is_printed_as_it_is_made(run: Run, script: Script) -> None:
    result = run("chat", "Why is the sky blue?", "--system", "Be brief.", "--temperature", "0")
    assert result.stdout == "".join(ANSWER) + "\n"
    assert [message.content for message in script.chats[0].messages] == ["Be brief.", "Why is the sky blue?"]
    assert script.chats[0].HasField("temperature")


def test_what_is_said_can_come_from_standard_input(run: Run, script: Script) -> None:
    assert run("chat", "-", input="Why?").exit_code == 0
    assert script.chats[0].messages[0].content == "Why?"


def test_programs_get_an_answer_in_pieces_and_whole(run: Run) -> None:
    *pieces, whole = lines(run("chat", "Why?", "--json"))
    assert [piece["text"] for piece in pieces] == list(ANSWER)
    assert whole["assets"][0]["content"] == "".join(ANSWER)


def test_a_job_in_a_file_is_submitted_as_it_stands(run: Run, data: Path, script: Script) -> None:
    (data / "job.json").write_text('{"type": "video_fast", "prompt": "waves", "config": {"frames": 5}}')
    assert run("submit", "job.json").exit_code == 0
    assert script.submitted[0].wan.config.frames == 5


def test_a_field_that_the_edge_sets_is_not_stripped_but_refused(run: Run) -> None:
    result = run("submit", "-", input='{"type": "video_fast", "prompt": "waves", "user_id": "me"}')
    assert result.exit_code == 1
    assert "user_id: is set by the edge" in result.stderr


def test_jobs_are_listed_under_a_header(run: Run) -> None:
    header, *jobs = run("jobs", "--limit", "2").stdout.splitlines()
    assert header.split() == ["created", "status", "place", "expected", "job"]
    assert [line.split()[-1] for line in jobs] == ["job_0", "job_1"]
    assert [job["id"] for job in lines(run("jobs", "--limit", "2", "--json"))] == ["job_0", "job_1"]


def test_a_queued_job_is_listed_with_its_place_and_when_it_starts(run: Run, script: Script) -> None:
    queued, running = edge_pb2.Job(id="a", queue_position=3), edge_pb2.Job(id="b")
    queued.status, running.status = job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_PROCESSING
    queued.estimate.start.seconds = int(time.time()) + 41
    running.estimate.finish.seconds = int(time.time()) + 300
    script.listed = [queued, running]
    _, first, second = run("jobs").stdout.splitlines()
    assert first.split()[2:4] == ["queued", "3"]
    assert "starts in about 4" in first
    assert "ends in about 5 min" in second
    assert lines(run("jobs", "--json"))[0]["estimate"]["start"]


def test_no_jobs_need_no_header(run: Run, script: Script) -> None:
    script.listed = []
    assert run("jobs").stdout == "no jobs\n"


def test_a_job_is_repeated_and_followed_like_a_new_one(run: Run, data: Path, script: Script) -> None:
    first, *_, last = lines(run("retry", JOB_ID, "--out", "again", "--json"))
    assert first == {"job_id": JOB_ID, "retry_of": JOB_ID}
    assert last["saved"] == f"again/{JOB_ID}_image_0.png"
    assert script.retried[0].job_id == JOB_ID
    assert f"job {JOB_ID} repeats {JOB_ID}" in run("retry", JOB_ID).stdout


@pytest.mark.parametrize("words", [("image", "a red fox"), ("video", "waves"), ("submit", "-")])
def test_how_urgent_a_job_is_and_who_is_called_back_can_be_said(
    run: Run, script: Script, words: tuple[str, ...]
) -> None:
    given = ("--priority", "-3", "--webhook", "https://example.com/done")
    assert run(*words, *given, input='{"type": "video_fast", "prompt": "waves"}').exit_code == 0
    assert (script.submitted[0].priority, script.submitted[0].webhook.url) == (-3, "https://example.com/done")


def test_a_place_in_the_queue_is_told_once_and_when_it_changes(run: Run, script: Script) -> None:
    estimate = edge_pb2.Estimate()
    now = time.time()
    for field, seconds in (("start", 40.5), ("start_earliest", 20.5), ("start_latest", 120.5), ("finish", 60)):
        getattr(estimate, field).FromNanoseconds(int((now + seconds) * 1e9))
    third = edge_pb2.QueueUpdate(position=3, estimate=estimate)
    script.places = [third, third, edge_pb2.QueueUpdate(position=2)]
    shown = run("watch", JOB_ID).stderr.splitlines()
    assert shown.count("place 3 in the queue, starts in about 40 s (20 s to 2 min)") == 1
    assert "place 2 in the queue; no worker that could run it is connected" in shown
    told = [line["queue"] for line in lines(run("watch", JOB_ID, "--json")) if "queue" in line]
    assert [place["position"] for place in told] == [3, 3, 2]
    assert told[0]["estimate"]["start"]


def test_a_terminal_shows_the_place_and_counts_down(run: Run, script: Script) -> None:
    estimate, script.hold = edge_pb2.Estimate(), threading.Event()
    estimate.start.FromNanoseconds(int((time.time() + 40) * 1e9))
    estimate.start_latest.CopyFrom(estimate.start)
    estimate.start_earliest.CopyFrom(estimate.start)
    script.places, script.hold_places = [edge_pb2.QueueUpdate(position=3, estimate=estimate)], script.hold
    threading.Timer(2.5, script.hold.set).start()
    shown = run("watch", JOB_ID, env={"FORCE_COLOR": "1"}).stderr
    assert re.findall(r"place 3 in the queue, starts in about (\d+) s", shown)[0] == "40"
    assert "starts in about 38 s" in shown


def test_an_attempt_that_failed_is_told_with_its_reason(run: Run, script: Script) -> None:
    failed = edge_pb2.Retry(attempt=1)
    failed.error.reason, failed.error.message = job_pb2.ERROR_REASON_WORKER_LOST, "the worker is gone"
    failed.not_before.FromNanoseconds(int((time.time() + 5.5) * 1e9))
    script.attempts_failed = [failed]
    shown = run("watch", JOB_ID).stderr
    assert "attempt 1 failed: the worker is gone; the next one begins in" in shown
    assert lines(run("watch", JOB_ID, "--json"))[1]["retry"]["error"]["message"] == "the worker is gone"


def test_a_job_is_followed_from_where_it_was_left(run: Run, data: Path) -> None:
    events = lines(run("watch", JOB_ID, "--after", "5", "--json"))
    assert [event["sequence"] for event in events if "sequence" in event] == [6, 7]
    assert run("watch", JOB_ID, "--out", "here.d").exit_code == 0
    assert (data / "here.d" / f"{JOB_ID}_image_0.png").exists()


def test_why_names_each_choice_under_its_reason() -> None:
    job = edge_pb2.Job(id=JOB_ID, type="sdxl_image_high", policy_version="0123", original_prompt="a red fox")
    for field, before, to, why in (
        ("config.steps", "", "25", "default of sdxl_image_high"),
        ("config.guidance_scale", "", "7.5", "default of sdxl_image_high"),
        ("prompt", "a red fox", "a red fox, sharp", "quality high"),
    ):
        job.decisions.add(**{"field": field, "from": before, "to": to, "why": why})
    assert explained(job).splitlines() == [
        f"{JOB_ID}: sdxl_image_high, planned with policies 0123",
        "prompt as sent: a red fox",
        "default of sdxl_image_high:",
        "    config.steps                 25",
        "    config.guidance_scale        7.5",
        "quality high:",
        "    prompt                       a red fox -> a red fox, sharp",
        "status: unspecified",
    ]


def test_why_tells_what_ran_and_how_it_went() -> None:
    job = edge_pb2.Job(id=JOB_ID, original_prompt="a fox", status=job_pb2.JOB_STATUS_FAILED)
    job.sdxl.prompt = "a red fox in deep snow"
    lost = job_pb2.JobError(reason=job_pb2.ERROR_REASON_WORKER_LOST, message="the worker went away")
    memory = job_pb2.JobError(reason=job_pb2.ERROR_REASON_OUT_OF_MEMORY, message="no memory is left")
    job.attempts.add(number=1, worker_id="sdxl_1", error=lost)
    job.attempts.add(number=2, worker_id="sdxl_2", error=memory)
    job.error.CopyFrom(memory)
    job.webhook.url, job.webhook.attempts, job.webhook.last_error = "https://here.example/", 2, "HTTP 503"
    job.webhook.state = edge_pb2.WEBHOOK_STATE_GIVEN_UP
    assert explained(job).splitlines()[1:] == [
        "prompt as sent: a fox",
        "prompt as run: a red fox in deep snow",
        "attempt 1 on sdxl_1 failed: the worker went away (worker_lost)",
        "attempt 2 on sdxl_2 failed: no memory is left (out_of_memory)",
        "status: failed: no memory is left (out_of_memory)",
        "webhook: given up, sent 2 times, the last time in vain: HTTP 503, to https://here.example/",
    ]


@pytest.mark.parametrize(
    ("field", "to", "why", "said"),
    [
        ("enhancement_source", "qwen_instruct", "by Qwen", "note: qwen_instruct improved the prompt: a red fox, sharp"),
        ("enhancement_source", "none", "enhancement failed: too late", "note: enhancement failed: too late"),
        ("prompt", "77 tokens", "the model reads 77 tokens of it", "note: prompt: the model reads 77 tokens of it"),
        (
            "messages",
            "2",
            "the oldest 3 of 5 turns were left out",
            "note: messages: the oldest 3 of 5 turns were left out",
        ),
    ],
)
def test_what_became_of_a_job_without_a_wish_is_told_at_once_to_people(
    run: Run, script: Script, field: str, to: str, why: str, said: str
) -> None:
    script.accepted.sdxl.prompt = "a red fox, sharp"
    script.accepted.decisions.add(field="config.steps", to="25", why="default of sdxl_image_high")
    script.accepted.decisions.add(field=field, to=to, why=why, notable=True)
    result = run("image", "a red fox")
    assert [line for line in result.stderr.splitlines() if line.startswith("note")] == [said]
    assert "note" not in result.stdout
    assert run("image", "a red fox", "--json").stderr == ""


def test_why_asks_for_the_job(run: Run, script: Script) -> None:
    assert JOB_ID in run("why", JOB_ID).stdout
    assert run("why", "nobody").exit_code == 1


def test_a_job_is_cancelled(run: Run, script: Script) -> None:
    assert run("cancel", JOB_ID).stdout == f"{JOB_ID} is cancelled\n"
    assert script.cancelled == [JOB_ID]


def test_the_catalogue_shows_bounds_and_defaults(run: Run) -> None:
    shown = run("catalog").stdout
    assert "sdxl_image_high (ready, 2 credits)" in shown
    assert "  photo  Like a photograph" in shown
    assert "10 to 50" in shown
    assert "25" in shown
    assert lines(run("catalog", "--json"))[0]["job_types"][0]["name"] == "sdxl_image_high"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("image", "a red fox", "--steps", "7"), "sdxl.config.steps: must be"),
        (("image", "a red fox", "--scheduler", "fast"), "sampling.scheduler: unknown word 'fast'; known: euler"),
        (("video", "waves", "--seed", "-1"), "sampling.seed: must be 0 to"),
        (("watch", "nobody"), "no job nobody"),
        (("cancel", "nobody"), "no job nobody"),
        (("image", "a red fox", "--priority", "11"), "priority: must be"),
        (("image", "a red fox", "--webhook", "nowhere"), "webhook.url: "),
        (("jobs", "--status", "done"), "unknown word 'done'"),
        (("submit", "nowhere.json"), "nowhere.json: no such file"),
        (("jobs", "--edge", "127.0.0.1:1"), "no edge answers at 127.0.0.1:1"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_a_job_that_failed_is_an_error_with_its_reason(run: Run, script: Script) -> None:
    script.failure = OutOfMemory("not enough memory; a smaller picture may fit")
    assert "error: not enough memory" in run("image", "a red fox").stderr
    result = run("image", "a red fox", "--json")
    assert result.exit_code == 1
    assert lines(result)[-1] == {
        "error": {"reason": "out_of_memory", "message": "not enough memory; a smaller picture may fit"}
    }


def test_a_download_that_is_refused_says_that_the_job_is_done(run: Run, script: Script) -> None:
    script.download_refusal = PermissionDenied("this needs the scope assets.read, which your token does not cover")
    result = run("image", "a red fox")
    assert result.exit_code == 1
    assert f"job {JOB_ID} is done" in result.stderr
    assert "scope assets.read, which your token does not cover" in result.stderr
    assert f"atelier watch {JOB_ID} --out" in result.stderr


def test_each_connection_that_is_lost_is_told_to_people(run: Run, script: Script) -> None:
    breaks = [(2, grpc.StatusCode.UNAVAILABLE), (4, grpc.StatusCode.UNAVAILABLE)]
    script.breaks = [*breaks]
    result = run("watch", JOB_ID)
    assert result.exit_code == 0
    assert result.stderr.count("connection lost, trying again") == 2
    script.breaks = [*breaks]
    assert run("watch", JOB_ID, "--json").stderr == ""


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    assert run("image").exit_code == 2
    assert run("image", "a red fox", "--seed", "seven").exit_code == 2
    assert run("paint").exit_code == 2


@pytest.mark.parametrize("command", [command.__name__.replace("_", "-") for command in COMMANDS])
def test_every_help_teaches_with_an_example(run: Run, command: str) -> None:
    example = " ".join(run(command, "--help").stdout.partition("Example:")[2].split())
    assert f"atelier {command}" in example


def test_ctrl_c_lets_go_of_the_job_and_says_how_to_come_back(
    repository: Path, data: Path, edge: ScriptedEdge, script: Script
) -> None:
    script.hold = threading.Event()
    command = [sys.executable, "-m", "atelier", "image", "a red fox", "--json"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while "progress" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait(10) == 130
    script.hold.set()
    assert json.loads(said.splitlines()[-1]) == {
        "detached": JOB_ID,
        "watch": f"atelier watch {JOB_ID} --out out",
        "cancel": f"atelier cancel {JOB_ID}",
    }
    assert script.cancelled == []
