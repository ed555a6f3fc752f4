"""A made-up kind of work: nothing in the edge takes it for one of the others."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from atelier.contracts.errors import InvalidRequest
from atelier.pb.job.v1 import job_pb2
from atelier.pb.worker.v1 import worker_pb2
from edge_service.domain.capabilities import able, check_capabilities
from edge_service.domain.kinds import KINDS, Kind, UnknownKind, Workload, kind_of
from edge_service.domain.partial_job import partial_job, problems_of
from edge_service.moderation.moderator import is_slow
from edge_service.moderation.text_fields import texts_of
from edge_service.planning.presets import Chosen, choices
from edge_service.planning.styles import add_words
from edge_service.queue.execution import _asset_rows, _finish
from edge_service.queue.rows import Lease
from edge_service.queue.webhooks.payload import callback as told_callback
from tests.kit.decided import decided

STRING, ENUM = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_ENUM


def _made(name: str, **fields: Any) -> type[Message]:
    """A message class with text fields, and enum fields where a type name is given."""
    message = descriptor_pb2.DescriptorProto(name=name)
    for number, (field, enum) in enumerate(fields.items(), 1):
        message.field.add(
            name=field, number=number, label=1, type=ENUM if enum else STRING, type_name=enum or None
        )  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(
        name=f"made_up/{name}.proto", package="made_up", syntax="proto3", message_type=[message],
        dependency=[job_pb2.DESCRIPTOR.name],
    )  # fmt: skip
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"made_up.{name}"))


Audio: Any = _made("AudioJob", id=None, user_id=None, prompt=None)
AudioCallback: Any = _made("AudioCallback", job_id=None, worker_id=None, status=".atelier.job.v1.JobStatus")


class AudioKind(Kind[Any, Any]):
    worker_type = "audio"
    job_class, callback_class, stub_class = Audio, AudioCallback, None
    type_names = ("song",)
    not_content = frozenset({"made_up.AudioJob.id", "made_up.AudioJob.user_id"})

    def type_name(self, job: Any) -> str:
        return "song"

    def request(self, job: Any, job_id: str, owner: str, attempt: int = 0) -> Message:
        return Audio(id=f"{job_id}.{attempt}", user_id=owner, prompt=job.prompt)

    def sample(self) -> dict[str, Any]:
        return {"prompt": "check"}

    def workload(self, job: Any) -> Workload:
        return Workload("song 1 minute", 60.0)

    def files(self, callback: Any) -> Sequence[Any]:
        return ()


SONG = Audio(id="song_1", user_id="ann", prompt="a fox sings")


@pytest.fixture
def audio(monkeypatch: pytest.MonkeyPatch) -> Iterator[AudioKind]:
    kind = AudioKind()
    monkeypatch.setitem(KINDS, "audio", kind)
    return kind


def lease() -> Lease:
    return Lease("song_1", "ann", "song", "audio", 2, SONG, None, False, "song 1 minute", 60.0, 0)  # type: ignore[arg-type]


ANYWHERE: Sequence[Callable[[], Any]] = (
    lambda: kind_of(SONG),
    lambda: kind_of(AudioCallback()),
    lambda: check_capabilities(SONG, [worker_pb2.Model(name="x", max_pixels=1)]),
    lambda: add_words(SONG, choices(), Chosen(style="photo")),
    lambda: _asset_rows(lease(), AudioCallback(job_id="song_1", status=job_pb2.JOB_STATUS_COMPLETED)),
    lambda: _finish(lease(), AudioCallback()),
)


@pytest.mark.parametrize("use", ANYWHERE)
def test_a_kind_that_is_not_registered_is_refused_wherever_it_comes_up(use: Callable[[], Any]) -> None:
    with pytest.raises(UnknownKind, match="is no job or callback of sdxl, wan, chat"):
        use()


@pytest.mark.parametrize(
    "use",
    [
        lambda: able("audio", "prompt", []),
        lambda: partial_job("audio", {"prompt": "a fox"}),
        lambda: told_callback({"worker_type": "audio", "status": "failed", "job_id": "a", "worker_id": "w"}),
    ],
)
def test_a_worker_type_that_is_not_registered_is_none_of_the_others(use: Callable[[], Any]) -> None:
    with pytest.raises(KeyError, match="audio"):
        use()


def test_a_registered_kind_is_planned_moderated_sent_and_recorded_as_its_own(audio: AudioKind) -> None:
    assert kind_of(SONG) is audio
    assert kind_of(SONG).needs(SONG) == []
    assert kind_of(SONG).workload(SONG).units == 60.0
    check_capabilities(SONG, [worker_pb2.Model(name="x", max_pixels=1)])
    assert texts_of(SONG) | {} == {"prompt": "a fox sings", "id": "song_1", "user_id": "ann"}  # registered too late
    assert not is_slow(SONG)
    sent = audio.request(SONG, "song_1", "ann", 2)
    assert type(sent) is Audio
    assert _asset_rows(lease(), AudioCallback(job_id="song_1", status=job_pb2.JOB_STATUS_COMPLETED)) == []
    told = told_callback(
        {"worker_type": "audio", "status": "failed", "job_id": "song_1", "worker_id": "w", "job_error": None}
    )
    assert type(told) is AudioCallback
    assert list(problems_of("audio", {"prompt": "x"})) == [(("prompt",), "prompt cannot be filled by a policy")]


def test_a_registered_kind_has_nothing_that_it_does_not_say(audio: AudioKind) -> None:
    job = Audio(prompt="a fox sings")
    assert (audio.size(job), audio.reference_keys(job), audio.read_once(job)) == (None, [], {})
    assert decided(audio.draw_seeds, job)[1] == []
    with pytest.raises(InvalidRequest, match="reference_use: only image jobs"):
        audio.resolve_references(job, job, 1, 0)  # type: ignore[arg-type]
    assert job == Audio(prompt="a fox sings")
