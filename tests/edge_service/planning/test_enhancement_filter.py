"""Which answers of a chat model are prompts."""

import pytest

from atelier.pb.edge.v1 import edge_pb2
from edge_service.planning.enhancement_filter import problem
from edge_service.planning.enhancement_templates import Template, enhancement

PROMPT = "a fox in the snow"
GOOD = "A red fox trots through deep snow at dawn, breath in the cold air, soft light, wide shot, photograph"


def template(model: str = "qwen_instruct", type_name: str = "sdxl_image_fast") -> Template:
    found = enhancement().template(model, type_name, edge_pb2.CONTENT_MODE_SFW)  # type: ignore[arg-type]
    assert found
    return found


def judged(answer: str, prompt: str = PROMPT, of: Template | None = None) -> str | None:
    return problem(answer, prompt, of or template(), enhancement())


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        GOOD.upper(),
        "x" * 1000,
        "A fox who cannot see the snow",
        "A surely happy fox",
        "The fox, here is its den, snow",
        "狐狸在雪地里, 柔和的光",
    ],
)
def test_a_prompt_is_taken(answer: str) -> None:
    assert judged(answer) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "empty"),
        ("x" * 1001, "1001 characters, at most 1000"),
        (PROMPT, "the prompt itself"),
        ("A fox, in the SNOW!", "the prompt itself"),
        ("I'm sorry, but I can't help with that.", "a refusal"),
        ("I\u2019m sorry", "a refusal"),
        ("As an AI language model I do not draw foxes", "a refusal"),
        ("A fox in the snow? I CANNOT write that.", "a refusal"),
        ("Es tut mir leid, das geht nicht", "a refusal"),
        ("很抱歉，我不能这样做", "a refusal"),
        ("Sure! A red fox in deep snow", "talk"),
        ("Sure, here is the rewritten prompt: a red fox", "talk"),
        ("Here's a prompt: a red fox", "talk"),
        ("**Prompt:** a red fox", "talk"),
        ('"Prompt: a red fox"', "talk"),
        ("好的，一只狐狸", "talk"),
        (f"{GOOD}, {GOOD}", "repeated itself"),
        (f"{GOOD}\n\nThis adds light and composition.", "more than a prompt"),
        ("1. A red fox\n2. A white fox", "more than a prompt"),
        (template().text, "more than a prompt"),
        (template().text.replace("\n", " "), "the template"),
        ("you rewrite prompts for a model that draws images", "the template"),
    ],
)
def test_anything_else_is_refused_with_the_reason(answer: str, why: str) -> None:
    found = judged(answer)
    assert found
    assert why in found
    assert "fox" not in found


def test_the_examples_of_a_template_are_no_answer() -> None:
    base = template("qwen_base", "video_fast")
    assert judged("A brown dog runs along the edge of the water on a wide empty beach", of=base) == (
        "the answer was the template"
    )


def test_what_the_prompt_says_itself_is_no_fault_of_the_answer() -> None:
    assert judged('A card on which "I\'m sorry" is written in gold, macro', "a card that says I'm sorry") is None
    assert judged("Prompt delivery by bicycle, rain, night", "prompt delivery") is None
    quoted = "a man says: keep the subject and every detail that is given"
    assert judged(f"In the rain {quoted}", quoted) is None
