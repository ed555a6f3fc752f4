"""The ordinary client: the same answers as the asynchronous one, without a loop of the caller's."""

import inspect
import threading
from collections.abc import Iterator

import pytest

import atelier
from atelier import errors
from tests.kit.scripted_edge import ANSWER, JOB_ID, KEY, PNG, TOKEN, Script, ScriptedEdge


@pytest.fixture
def client(edge: ScriptedEdge) -> Iterator[atelier.Client]:
    with atelier.Client(edge.address, TOKEN) as client:
        yield client


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    asynchronous = {name: member for name, member in vars(atelier.AsyncClient).items() if not name.startswith("_")}
    ordinary = {name: member for name, member in vars(atelier.Client).items() if not name.startswith("_")}
    assert set(asynchronous) == set(ordinary)
    methods = [name for name, member in ordinary.items() if callable(member)]
    assert {name: parameters(ordinary[name]) for name in methods} == {
        name: parameters(asynchronous[name]) for name in methods
    }


def test_a_download_that_is_refused_says_that_the_job_is_done(client: atelier.Client, script: Script) -> None:
    script.download_refusal = errors.PermissionDenied("this needs the scope assets.read")
    with pytest.raises(errors.PermissionDenied, match=f"job {JOB_ID} is done .* the scope assets.read"):
        client.image("a red fox").result()


def test_what_is_printed_says_what_it_is_in_one_short_line(client: atelier.Client) -> None:
    job, chat = client.image("a red fox"), client.chat("Why is the sky blue?", stream=True)
    assert repr(job) == f"JobHandle(id='{JOB_ID}')"
    ended = list(job)[-1]
    assert repr(ended).endswith(f"job=Job(id='{JOB_ID}', type='sdxl_image_high', status='completed'))")
    assert repr(job) == f"JobHandle(id='{JOB_ID}', status='completed')"
    assert repr(job.result()) == f"[File(type='image', key='{KEY}', bytes={len(PNG)})]"
    assert repr(ended.job.assets) == f"[Asset(type='image', key='{KEY}')]"  # type: ignore[attr-defined]
    assert repr(chat) == "ChatHandle(not accepted yet)"
    assert len(repr(chat.result())) < 200
    assert repr(chat) == "ChatHandle(id='chat_1734567890_abc123')"


def test_an_image_is_submitted_followed_and_downloaded(client: atelier.Client) -> None:
    job = client.image("a red fox")
    assert job.id == JOB_ID
    assert [event.sequence for event in job] == list(range(1, 8))
    assert [file.bytes() for file in job.result()] == [PNG]
    assert job.ended().status == "completed"


def test_a_video_is_submitted(client: atelier.Client, script: Script) -> None:
    client.video("waves", frames=5)
    assert script.submitted[0].wan.config.frames == 5


def test_an_answer_comes_whole_or_in_pieces(client: atelier.Client) -> None:
    assert client.chat("Why?").text == "".join(ANSWER)
    chat = client.chat("Why?", stream=True)
    assert list(chat) == list(ANSWER)
    assert chat.result().text == "".join(ANSWER)


def test_leaving_an_answer_early_ends_the_call(client: atelier.Client, script: Script) -> None:
    script.hold = threading.Event()
    for _ in client.chat("Why?", stream=True):
        break
    assert script.abandoned.wait(5)
    script.hold.set()


def test_waiting_for_a_result_can_end_before_the_job(client: atelier.Client, script: Script) -> None:
    script.hold = threading.Event()
    job = client.image("a red fox")
    with pytest.raises(TimeoutError):
        job.result(timeout=0.2)
    script.hold.set()
    assert job.result(timeout=5)[0].bytes() == PNG


def test_jobs_can_be_found_watched_cancelled_and_downloaded(client: atelier.Client) -> None:
    assert client.submit({"type": "video_fast", "prompt": "waves"}).status == "queued"
    assert [event.sequence for event in client.watch(JOB_ID, after=5)] == [6, 7]
    assert len(client.jobs(limit=3)) == 3
    assert client.cancel(JOB_ID).status == "cancelled"
    assert client.download(client.job(JOB_ID).assets[0]).bytes() == PNG


def test_the_catalogue_and_the_workers_can_be_read(client: atelier.Client) -> None:
    assert client.catalog().models[0].name == "lustify_sdxl"
    assert client.workers()[0].status.accepting


def test_a_refusal_is_an_exception_of_its_own(client: atelier.Client) -> None:
    with pytest.raises(errors.JobNotFound):
        client.job("nobody")


def test_a_closed_client_leaves_no_thread(edge: ScriptedEdge) -> None:
    before = threading.active_count()
    with atelier.Client(edge.address, TOKEN) as client:
        client.jobs(limit=1)
    assert not [thread for thread in threading.enumerate() if thread.name == "atelier-client" and thread.is_alive()]
    assert threading.active_count() <= before + 1  # the server's own thread for the call
