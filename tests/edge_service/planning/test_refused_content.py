"""Whatever somebody asks for, a refusal of what it says is in the audit log, by a hash that only the house can make."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from atelier.contracts.errors import ContentForbidden, ContentNotAllowed
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.edge.v1 import edge_pb2
from edge_service.auth import Principal
from edge_service.planning.planner import Planner
from tests.kit.planned import planned, planner

ANN = Principal("ann", "basic")
# One of a minor and one that is sexual, as mild as can be: together they are refused in every mode.
FORBIDDEN = "a teen girl, nude"
FOX = {"type": "sdxl_image_fast", "prompt": "a fox"}


def submitted(**job: Any) -> edge_pb2.SubmitJobRequest:
    return from_spec_dict(edge_pb2.SubmitJobRequest, job)


def says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def repeated(judging: Planner, text: str) -> Awaitable[object]:
    plan = planned(submitted(sdxl=FOX), ANN.tier)
    plan.job.prompt = text  # type: ignore[union-attr]
    return judging.again(plan, "old", ANN)


ASKING: Mapping[str, Callable[[Planner, str], Awaitable[object]]] = {
    "an image": lambda judging, text: judging.job(submitted(sdxl=FOX | {"prompt": text}), ANN),
    "a video": lambda judging, text: judging.job(submitted(wan={"type": "video_fast", "prompt": text}), ANN),
    "a chat job": lambda judging, text: judging.job(submitted(chat=says(text)), ANN),
    "a turn": lambda judging, text: judging.turn(from_spec_dict(edge_pb2.ChatRequest, {"request": says(text)}), ANN),
    "an image once more": repeated,
}


async def audited(kind: str, text: str, secret: bytes, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The line in the audit log that a request leaves."""
    judging = planner()
    judging._moderation.secret = secret
    caplog.clear()
    with caplog.at_level(logging.INFO), pytest.raises((ContentForbidden, ContentNotAllowed)):
        await ASKING[kind](judging, text)
    [line] = [vars(record) for record in caplog.records if record.getMessage() == "audit"]
    return line


@pytest.mark.parametrize(("text", "reason"), [(FORBIDDEN, "CONTENT_FORBIDDEN"), ("a nude", "CONTENT_NOT_ALLOWED")])
@pytest.mark.parametrize("kind", ASKING)
async def test_a_refusal_is_in_the_audit_log(kind: str, text: str, reason: str, caplog: pytest.LogCaptureFixture):
    line = await audited(kind, text, b"of the house", caplog)
    subject = "chat_turn" if kind in ("a chat job", "a turn") else "video_fast" if kind == "a video" else FOX["type"]
    assert [line[name] for name in ("actor", "action", "subject", "reason")] == [
        "ann", "request.refused", subject, reason,
    ]  # fmt: skip


async def test_its_digest_is_made_with_the_secret_of_the_house(caplog: pytest.LogCaptureFixture):
    """Short texts are found by trying where a hash needs no secret."""
    secrets = (b"of the house", b"of another house", b"")
    digests = [(await audited("an image", FORBIDDEN, secret, caplog))["digest"] for secret in secrets]
    assert len(set(digests)) == 3
    assert digests[0] == (await audited("an image", FORBIDDEN, secrets[0], caplog))["digest"]
