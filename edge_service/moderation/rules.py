"""Content modes, and the rules of `policies/content.yaml` that hold in them.

The mode of a request is the strictest of three: what the account may see, what the policy permits at most, and what the
caller chose. Whatever is not said, or not known, is SFW. What `minors.py` refuses is refused before and in every mode.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from atelier.contracts.errors import ContentNotAllowed
from edge_service.domain.content_mode import Mode
from edge_service.moderation.minors import is_negative, lowered
from edge_service.moderation.normalize import Reading, field_of, remembering
from edge_service.moderation.term_index import Terms, problem
from edge_service.policy import Strict, policy


def _term(term: str) -> str:
    if wrong := problem(term):
        raise ValueError(wrong)
    return term


Term = Annotated[str, AfterValidator(_term)]
# The terms in each field.
Found = Mapping[str, frozenset[str]]
Languages = dict[str, Annotated[list[Term], Field(min_length=1)]]


class Rule(Strict):
    """One rule: it refuses a request in which each of `lists` has a term.

    `where` says in which texts: "shown" are prompts, weights and messages; "taken_back" are negative prompts and what a
    weight below one pushes away; "everywhere" is both. Empty `tiers`, `worker_types`, `languages` mean all.
    """

    id: str = Field(pattern=r"^[a-z0-9_.]+$", max_length=64)
    modes: list[Mode] = Field(min_length=1)
    lists: list[str] = Field(min_length=1, max_length=4)
    where: Literal["shown", "taken_back", "everywhere"] = "shown"
    tiers: tuple[str, ...] = ()
    worker_types: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def holds(self, mode: Mode, tier: str, worker_type: str) -> bool:
        """Whether the rule is in force. A tier or worker type that is not said falls under every rule."""
        return (
            mode in self.modes
            and (not self.tiers or not tier or tier in self.tiers)
            and (not self.worker_types or not worker_type or worker_type in self.worker_types)
        )


class Classification(Strict):
    """In which modes the chat model is asked besides and what, which first words of its answer let a request pass, and
    how long it may think."""

    modes: list[Mode] = Field(min_length=1)
    prompt: str = Field(min_length=1, max_length=8192)
    """Its system prompt; the texts of the request are what the user says."""
    passes: list[str] = Field(min_length=1)
    seconds: float = Field(default=5.0, gt=0, le=60)


class Content(Strict):
    """The whole policy. `most_explicit` is the mode that no account gets beyond."""

    version: int
    most_explicit: Mode = "sfw"
    lists: dict[str, Languages]
    rules: list[Rule]
    classification: Classification | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Content":
        wrong = [*self._unknown_lists(), *self._unknown_languages(), *self._doubles()]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _unknown_lists(self) -> Iterator[str]:
        for index, rule in enumerate(self.rules):
            for name in set(rule.lists) - self.lists.keys():
                yield f"rules.{index}.lists: no list '{name}'; known: {', '.join(self.lists)}"

    def _unknown_languages(self) -> Iterator[str]:
        for index, rule in enumerate(self.rules):
            known = {language for name in rule.lists for language in self.lists.get(name, {})}
            for language in set(rule.languages) - known:
                yield f"rules.{index}.languages: its lists have no '{language}'; known: {', '.join(sorted(known))}"

    def _doubles(self) -> Iterator[str]:
        ids = [rule.id for rule in self.rules]
        yield from (
            f"rules.{index}.id: '{name}' is there twice" for index, name in enumerate(ids) if name in ids[:index]
        )

    @cached_property
    def found(self) -> Callable[[str], frozenset[str]]:
        """Finds all terms of the policy in a text at once."""
        index = Terms({term for lists in self.lists.values() for terms in lists.values() for term in terms})
        return remembering(lambda text: frozenset(index.found(Reading.of(text))))

    @cached_property
    def wanted(self) -> dict[str, list[frozenset[str]]]:
        """By the id of a rule, the terms of each of its lists."""
        return {rule.id: [self._terms(name, rule.languages) for name in rule.lists] for rule in self.rules}

    def _terms(self, name: str, languages: Sequence[str]) -> frozenset[str]:
        spoken = (terms for language, terms in self.lists[name].items() if not languages or language in languages)
        return frozenset(term for terms in spoken for term in terms)


def content() -> Content:
    """The rules that are in force."""
    return policy("content", Content)


def check(
    texts: Mapping[str, str], mode: Mode, tier: str = "", worker_type: str = "", rules: Content | None = None
) -> str:
    """Raises ContentNotAllowed, naming rule and field and no content, for texts that a rule of the mode refuses.

    Returns what was checked, for the job's decisions. Keys are fields as `texts_of` gives them.
    """
    rules = rules or content()
    held = [rule for rule in rules.rules if rule.holds(mode, tier, worker_type)]
    shown = {field: rules.found(text) for field, text in texts.items() if not is_negative(field)}
    taken_back = {field: rules.found(text) for field, text in _taken_back(texts)}
    for rule in held:
        if field := _broken(rules.wanted[rule.id], _read(rule, shown, taken_back)):
            raise ContentNotAllowed(f"{field}: refused by rule {rule.id} of content mode {mode}")
    return f"passes the rules of {mode}: {', '.join(rule.id for rule in held) or 'there are none'}"


def _taken_back(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for field, text in texts.items():
        words = text if is_negative(field) else "\n".join(lowered(text))
        if words:
            yield field, words


def _read(
    rule: Rule, shown: Mapping[str, frozenset[str]], taken_back: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    read = {} if rule.where == "taken_back" else dict(shown)
    if rule.where != "shown":
        for field, found in taken_back.items():
            read[field] = read.get(field, frozenset()) | found
    return read


def _broken(lists: list[frozenset[str]], found: Found) -> str:
    """The fields in which the terms of a broken rule stand; empty if one of its lists has none: the request is judged
    as a whole."""
    fields = [[field for field, terms in found.items() if not terms.isdisjoint(wanted)] for wanted in lists]
    return ", ".join(sorted({field_of(field) for of_list in fields for field in of_list})) if all(fields) else ""
