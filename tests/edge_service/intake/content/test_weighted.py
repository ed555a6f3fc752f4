"""Weights cannot part a word that is refused, nor take one back in a way that nobody looks for."""

from typing import Any

import pytest

from edge_service.intake.content.judging import Judge
from edge_service.intake.content.weighted import with_weights_applied
from edge_service.turns import Turns
from shared.errors import ContentForbidden
from shared.pb.atelier.edge.v1 import edge_pb2


def judge(worker_type: str = "sdxl") -> Judge:
    nobody: Any = None
    nsfw = edge_pb2.CONTENT_MODE_NSFW
    return Judge(nobody, "ann", "sdxl_image_fast", nsfw, "admin", worker_type, b"", nobody, Turns(1, 1))


@pytest.mark.parametrize(
    "prompt",
    [
        "nude (te:1.0)en", "nude (te)1.0en", "nude (te:1)en", "nude (te)1(en)1", "nude (te:1.3)en", "nude te(en)++",
        r"nude te\:en", "(nu:1)(de:1) teen", "nude ((te:2)en:0.5)", "nude t(:1.2)een", "nude (t)1ee(n)1",
        "nude (t:1)een", "teen (nu:0.7)de", "teen, (clothes:  0.3)", "teen, (clothes:00.3)", "teen, (clothes)00.3",
        "teen, ((clothes)2)0.2", "teen, (dress (clothes:0.5) shoes)1.9", "nude, ((adult))0.99", "teen, clothes---",
    ],
)  # fmt: skip
def test_what_the_weights_make_of_a_prompt_is_refused_too(prompt: str) -> None:
    with pytest.raises(ContentForbidden, match=r"^prompt: sexual content with any indication of a minor is refused"):
        judge().judge({"prompt": prompt})


@pytest.mark.parametrize("field", ["compel_weights", "style", "config.negative_prompt"])
def test_every_text_is_read_so(field: str) -> None:
    with pytest.raises(ContentForbidden):
        judge().judge({"prompt": "nude", field: "(te)1(en)1"})


@pytest.mark.parametrize(
    "prompt",
    ["a nude woman, (red:1.3) hair", "a child in (warm clothes)1.4 and (boots)++", "a (fox", "state-of-the-art"],
)
def test_ordinary_weights_pass(prompt: str) -> None:
    judge().judge({"prompt": prompt})


def test_a_text_is_followed_by_what_is_read_of_it() -> None:
    assert with_weights_applied("a red boat") == "a red boat"
    assert with_weights_applied("a (red:1.3) boat") == "a (red:1.3) boat\na red boat"
    assert with_weights_applied(r"(a \(b\))0.3 c") == "(a \\(b\\))0.3 c\na (b) c\n(a  b )0.1"
    assert with_weights_applied("a (red boat") == "a (red boat"
