"""Which texts of a job are judged, and as what: the words that policies add, and the rules of its worker."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from atelier.pb.edge.v1 import edge_pb2
from tests.journeys.edge.test_intake import FORBIDDEN, FOX, policies, refused
from tests.kit.edge import ANN, Calls
from tests.kit.steered import says

FILM = {"type": "video_fast", "prompt": "a red fox"}
NUDE = {"prompt": "a nude woman, oil painting"}
GORE = "a severed head"


@pytest.fixture
def ann(channel: grpc.aio.Channel) -> Calls:
    """Calls to an edge without workers: nothing here is executed."""
    return Calls(channel, ANN)


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        # Words that weights part and the model reads as one.
        ({"sdxl": FOX | {"prompt": "nude q(te(e:1)n:1.1)q"}, "content_mode": "nsfw"}, "CONTENT_FORBIDDEN"),
        ({"sdxl": FOX | {"prompt": "a woman q(nu(d)1:1.1)(e)1 q"}}, "CONTENT_NOT_ALLOWED"),
        # What no picture and no video shows, and a text may tell.
        ({"sdxl": FOX | {"prompt": GORE}}, "CONTENT_NOT_ALLOWED"),
        ({"wan": FILM | {"prompt": GORE}}, "CONTENT_NOT_ALLOWED"),
        ({"sdxl": FOX | {"config": {"negative_prompt": "clothes"}}}, "CONTENT_NOT_ALLOWED"),
        ({"wan": FILM | {"sampling": {"negative_prompt": "clothes"}}}, "CONTENT_NOT_ALLOWED"),
    ],
)
async def test_a_picture_is_judged_as_one(ann: Calls, request_: dict[str, Any], refusal: str):
    with refused(refusal):
        await ann.submit(**request_)


async def test_a_conversation_is_judged_as_one(ann: Calls):
    assert (await ann.submit(chat=says(f"a tale of {GORE}"))).content_mode == edge_pb2.CONTENT_MODE_SFW


async def test_a_repeated_picture_is_judged_as_one(ann: Calls, tmp_path: Path):
    with policies(tmp_path, "content", "{id: sfw.gore, modes: [sfw]", "{id: sfw.gore, modes: [nsfw]"):
        job = await ann.submit(sdxl=FOX | {"prompt": GORE})
    await ann.cancel(job.id)
    with refused("CONTENT_NOT_ALLOWED"):
        await ann.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=job.id), metadata=ann.metadata)


@pytest.mark.parametrize(("choice", "worker", "job"), [("style", "sdxl", FOX), ("quality", "wan", FILM)])
@pytest.mark.parametrize(
    ("words", "prompt", "refusal"),
    [
        # Each of the two passes without the other.
        ('prompt: "{prompt}, a celebrity"', NUDE["prompt"], "CONTENT_NOT_ALLOWED"),
        (f'prompt: "{{prompt}}, {FORBIDDEN[1]}"', FORBIDDEN[0], "CONTENT_FORBIDDEN"),
        ('negative_prompt: "adult, mature"', NUDE["prompt"], "CONTENT_FORBIDDEN"),
    ],
)
async def test_the_words_of_a_policy_are_judged_with_the_prompt_that_gets_them(
    ann: Calls, tmp_path: Path, choice: str, worker: str, job: dict[str, Any], words: str, prompt: str, refusal: str
):
    place = {"style": "\nstyles:", "quality": "\nqualities:"}[choice]
    with policies(tmp_path, "presets", place, f"{place}\n  daring: {{description: Daring, {words}}}"):
        with refused(refusal):
            await ann.submit(**{worker: job | {"prompt": prompt}, choice: "daring"}, content_mode="nsfw")
        assert await ann.submit(**{worker: job, choice: "daring"}, content_mode="nsfw")
    assert await ann.submit(**{worker: job | {"prompt": prompt}}, content_mode="nsfw")
