"""Is what a chat model answered a prompt? It may be an apology, talk about the task, or the task itself."""

import re
from collections.abc import Iterable

from edge_service.planning.enhancement_templates import RUN, Enhancement, Template, repeats

# Hiragana, katakana, Chinese characters: written without spaces between words.
UNSPACED = "\u3040-\u30ff\u3400-\u9fff"


def problem(answer: str, prompt: str, template: Template, table: Enhancement) -> str | None:
    """Why the answer to `prompt` is not taken; None if it is. Says nothing of what is in it."""
    if not answer:
        return "the answer was empty"
    if len(answer) > table.max_characters:
        return f"the answer has {len(answer)} characters, at most {table.max_characters} are taken"
    if _plain(answer) == _plain(prompt):
        return "the answer was the prompt itself"
    if "\n" in answer:
        return "the answer was more than a prompt"
    if _says(answer, prompt, table.refusals):
        return "the answer was a refusal"
    if _begins(answer, prompt, table.talk):
        return "the answer was talk about the prompt"
    if repeats(answer) is not None:
        return "the answer repeated itself"
    if _runs(answer) & _runs(template.text) - _runs(prompt):
        return "the answer was the template"
    return None


def _plain(text: str) -> str:
    """Words in lower case with single spaces between them and at both ends; where no spaces are written, signs."""
    words = re.findall(rf"[{UNSPACED}]|[^\W{UNSPACED}](?:[^\W{UNSPACED}]|')*", text.lower().replace("\u2019", "'"))
    return f" {' '.join(words)} "


def _says(answer: str, prompt: str, phrases: Iterable[str]) -> bool:
    """Whether a phrase is in the answer that the prompt has not."""
    said, asked = _plain(answer), _plain(prompt)
    return any(phrase in said and phrase not in asked for phrase in map(_plain, phrases))


def _begins(answer: str, prompt: str, phrases: Iterable[str]) -> bool:
    said, asked = _plain(answer), _plain(prompt)
    return any(said.startswith(phrase) and not asked.startswith(phrase) for phrase in map(_plain, phrases))


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _plain(text).split()
    return {tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}
