"""The refusal that cannot be switched off: sexual content with any indication of a minor.

It holds in every content mode, for every tier, role, template and override, and has no parameter, variable or policy
file: its words stand in `safety_words.py`. It never rewrites. What it cannot check it refuses.

All texts of a request are judged together, because a request is one picture: a word for a minor in one field and a
sexual one in another are refused as if they stood side by side. Adding words never lets a text pass: there are no
"safe" words and no exceptions by context. "not a child" is an indication of a child.

A negative prompt is what is *not* to be shown. So, where P are all other texts and N is the negative prompt:

    P minor + sexual                refused, whatever N says
    P minor,  N sexual              passes: a parent being careful. Refused if N negates ("no clothes", "without"), for
                                    then it asks for the contrary, and if N takes away clothes or censorship
    P sexual, N minor               refused: how much a model heeds a negative prompt is unknown
    P sexual, N adult, mature ...   refused: it asks adulthood away
    P neither, N minor + sexual     passes: the usual "nsfw, nude, child" of a landscape
    P minor or sexual, N both       refused

What a weight below one takes back, as in "(clothes)0.2" or "adult--", is read as a negative prompt, too.
"""

import hashlib
import hmac
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import or_

from atelier.contracts.errors import ContentForbidden
from edge_service.moderation.ages import tells_minor
from edge_service.moderation.normalize import Reading, field_of, plain, remembering
from edge_service.moderation.term_index import Terms
from edge_service.moderation.words import minors_words as words

log = logging.getLogger(__name__)

NEGATIVE_PROMPT = "negative_prompt"
# "(a, b)0.3", "(a, b:0.3)", "(a b)-", "word--": compel's and others' ways of taking words back.
_LOWERED_WORD = re.compile(r"(?<![^\W_])([^\W_]+)-+(?![^\s,.;)])")
_LOWERED_AFTER = re.compile(r"-|\s?(?:-\d|0?\.\d|0(?![\d.]))")
_GROUPS = re.compile(r"[()]|:\s?(?:-|0?\.\d|0\s?(?=\)))")


def _all(*lists: words.Languages) -> frozenset[str]:
    return frozenset(term for languages in lists for terms in languages.values() for term in terms)


_MINOR, _SEXUAL = _all(words.MINOR), _all(words.SEXUAL)
_ADULT, _COVERED, _NEGATIONS = frozenset(words.ADULT), frozenset(words.COVERED), frozenset(words.NEGATIONS)
_TERMS = Terms(_MINOR | _SEXUAL | _all(words.YOUTH, words.SUGGESTIVE, words.HOMOGRAPHS_MINOR, words.HOMOGRAPHS_SEXUAL))
# Looked for in negative prompts and in what weights take back only.
_TAKEN = Terms(_ADULT | _COVERED | _NEGATIONS)


@remembering
def _terms(text: str) -> frozenset[str]:
    return frozenset(_TERMS.found(Reading.of(text)))


@remembering
def _is_age(text: str, year: int) -> bool:
    return tells_minor(Reading.of(text), year)


@remembering
def _taken(text: str) -> frozenset[str]:
    return frozenset(_TAKEN.found(Reading.of(text)))


@dataclass(frozen=True)
class Signs:
    """What some texts hold: terms, and whether they tell an age under 18."""

    terms: frozenset[str]
    is_age: bool

    @classmethod
    def of(cls, text: str) -> "Signs":
        return cls(_terms(text), _is_age(text, datetime.now(UTC).year))

    def __or__(self, other: "Signs") -> "Signs":
        return Signs(self.terms | other.terms, self.is_age or other.is_age)

    def is_minor(self) -> bool:
        alone = self.is_age or not self.terms.isdisjoint(_MINOR) or _groups(self.terms, words.YOUTH) >= 2
        return alone or self._has_homograph(words.HOMOGRAPHS_MINOR, words.SEXUAL, words.HOMOGRAPHS_SEXUAL)

    def is_sexual(self) -> bool:
        alone = not self.terms.isdisjoint(_SEXUAL) or _groups(self.terms, words.SUGGESTIVE) >= 2
        told = self.is_age and any(not self.terms.isdisjoint(terms) for terms in words.HOMOGRAPHS_SEXUAL.values())
        return alone or told or self._has_homograph(words.HOMOGRAPHS_SEXUAL, words.MINOR, words.HOMOGRAPHS_MINOR)

    def _has_homograph(self, homographs: words.Languages, *others: words.Languages) -> bool:
        spoken = [language for language, terms in homographs.items() if not self.terms.isdisjoint(terms)]
        return any(not self.terms.isdisjoint(other.get(language, ())) for language in spoken for other in others)


def refuse(texts: Mapping[str, str]) -> None:
    """Raises ContentForbidden, naming fields and no content, if the texts of a request are sexual with any indication
    of a minor, or if they cannot be checked. Keys are the fields; one that ends in `negative_prompt` is a negative
    prompt, every other is a prompt.
    """
    try:
        fields = _forbidden(texts)
    except Exception as error:
        # The error's text may hold content; its type does not.
        log.error("the refusal could not check a request and refuses it: %s", type(error).__name__)
        raise ContentForbidden("request: could not be checked, so it is refused") from None
    if fields:
        raise ContentForbidden(f"{', '.join(fields)}: sexual content with any indication of a minor is refused")


def digest(texts: Mapping[str, str], secret: bytes = b"") -> str:
    """A hash of the normalised texts for the audit log, 64 hexadecimal digits: the same however they are disguised.
    With a `secret`, a short text cannot be found by trying without it.
    """
    whole = "\0".join(f"{field}\0{' '.join(plain(text).split())}" for field, text in sorted(texts.items()))
    return hmac.new(secret, whole.encode(errors="replace"), hashlib.sha256).hexdigest()


def is_negative(field: str) -> bool:
    """Whether a field says what is not to be shown."""
    return field_of(field).rpartition(".")[2] == NEGATIVE_PROMPT


def lowered(text: str) -> Iterator[str]:
    """What the weights of a prompt take back; of parentheses within parentheses what stands in the outermost."""
    spans = _lowered_groups(text)
    spans += [found.span(1) for found in _LOWERED_WORD.finditer(text)]
    yield from (text[start:end] for start, end in sorted(spans))


def _lowered_groups(text: str) -> list[tuple[int, int]]:
    """From where to where what parentheses take back stands."""
    begun: list[int] = []
    weighed: list[int | None] = []  # where the weight of each that is open begins, if it is within and takes back
    spans: list[tuple[int, int]] = []
    for found in _GROUPS.finditer(text):
        if found[0] == "(":
            begun.append(found.end())
            weighed.append(None)
        elif found[0] != ")":
            if weighed and weighed[-1] is None:
                weighed[-1] = found.start()
        elif begun:
            start, end = begun.pop(), weighed.pop()
            if end is None and _LOWERED_AFTER.match(text, found.end()):
                end = found.start()
            if end is not None:
                while spans and spans[-1][0] > start:
                    spans.pop()
                spans.append((start, end))
    return spans


def _forbidden(texts: Mapping[str, str]) -> list[str]:
    """The fields that together are forbidden; none if they are not."""
    signs = {field: Signs.of(text) for field, text in texts.items()}
    shown = _together(found for field, found in signs.items() if not is_negative(field))
    hidden = _together(found for field, found in signs.items() if is_negative(field))
    if not _is_forbidden(shown, hidden, _taken_back(texts)):
        return []
    telling = [field for field, found in signs.items() if found.is_minor() or found.is_sexual()]
    return list(dict.fromkeys(map(field_of, telling or texts)))


def _is_forbidden(shown: Signs, hidden: Signs, taken_back: frozenset[str]) -> bool:
    if not taken_back.isdisjoint(_NEGATIONS):
        shown |= hidden
    return (
        (shown.is_minor() and shown.is_sexual())
        or (shown.is_sexual() and (hidden.is_minor() or not taken_back.isdisjoint(_ADULT)))
        or (shown.is_minor() and hidden.is_minor() and hidden.is_sexual())
        or (shown.is_minor() and not taken_back.isdisjoint(_COVERED))
    )


def _taken_back(texts: Mapping[str, str]) -> frozenset[str]:
    """The terms that negative prompts and weights below one push out of the picture."""
    negative = [text for field, text in texts.items() if is_negative(field)]
    away = "\n".join([*negative, *(word for text in texts.values() for word in lowered(text))])
    return _taken(away) if away else frozenset()


def _together(signs: Iterable[Signs]) -> Signs:
    return reduce(or_, signs, Signs(frozenset(), False))


def _groups(found: frozenset[str], groups: Mapping[str, tuple[str, ...]]) -> int:
    return sum(not found.isdisjoint(terms) for terms in groups.values())
