"""Finding words of a list in a text, however they are written there, and nowhere but at borders of words.

"teen"           the word, in every disguise that `text.py` reads
"school uniform" the words in a row, whatever stands between them that is no letter
"nackt*"         every word that begins so
"少女"           scripts without blanks: anywhere; Hangul and katakana: where a word begins; pictographs: anywhere
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from edge_service.moderation.normalize import Reading, by_word, folded, key, keys, plain, runs

# Common words that a disguise of a listed one would look like. Found by reading the 40,000 commonest words of each
# language of the refusal.
_OTHER = """
    barre barred puzzles seek seeks seeking rapping rapped kidd toots loll babbles beebe bussen geller gell gelli giri
    selos sellos fondi fondiaria nuez nagle naglej nenne tweeen"""
OTHER_WORDS = frozenset(_OTHER.split())
MAX_WORDS = 5
_LETTERS = re.compile(r"[^\W_]")
_TRIPLE = re.compile(r"(.)\1{2,}")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_KATAKANA, _HANGUL = "\u30a1-\u30ff", "\uac00-\ud7af"
_MIN_STEM, _MIN_PIECE, _MAX_GLUED = 3, 3, 40


def problem(term: str) -> str:
    """What is wrong with a term of a list; empty if nothing is."""
    words = plain(term.removesuffix("*")).split()
    if not words or (_LETTERS.search(term) and "*" in term.removesuffix("*")):
        return "must be words, with a * at its end only"
    if len(words) > MAX_WORDS:
        return f"must have at most {MAX_WORDS} words, got {len(words)}"
    if term.endswith("*") and (len(words) > 1 or len(words[0]) < _MIN_STEM):
        return f"a beginning must be one word of at least {_MIN_STEM} letters"
    if term.endswith("*") and len(key(words[0])) < _MIN_STEM:
        return f"a beginning must have at least {_MIN_STEM} different letters"
    if any(not re.fullmatch(r"[^\W\d_]+", word) for word in words) and not _is_unbroken(term):
        return "must be of letters only"
    return ""


def _is_unbroken(term: str) -> bool:
    """Whether a term is found without regard to blanks: in scripts that need none, and pictographs."""
    return bool(_CJK.search(term)) or not _LETTERS.search(term)


class Terms:
    """An index of terms. What it finds in a text costs time by the text's length, not by the number of terms."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._words = defaultdict[str, list[tuple[str, str]]](list)  # key -> the plain word and its term
        self._stems = defaultdict[int, dict[str, list[tuple[str, str]]]](dict)  # length of key -> key -> plain, term
        # The key of a phrase's first word -> the keys of its words, the plain words, the term.
        self._phrases = defaultdict[str, list[tuple[list[str], list[str], str]]](list)
        self._pieces: dict[str, str] = {}  # folded word -> term: what glued and spelled words are made of
        self._starred = defaultdict[str, list[str]](list)
        self._anywhere: dict[str, str] = {}
        self._starts: dict[str, str] = {}
        for term in terms:
            self._add(term)
        self._longest = max(map(len, self._pieces), default=0)
        self._piece_starts = {piece[:_MIN_PIECE] for piece in self._pieces}
        self._stem_starts = {stem[:_MIN_STEM] for stems in self._stems.values() for stem in stems}
        self._of_word = by_word(self._in_word)
        starts = "|".join(map(re.escape, sorted(self._starts, key=len)))
        self._begins = re.compile(
            f"(?:(?<![{_KATAKANA}])(?=[{_KATAKANA}])|(?<![{_HANGUL}])(?=[{_HANGUL}]))(?:{starts})"
        )

    def found(self, reading: Reading) -> set[str]:
        """The terms in a text."""
        hits = self._spelled(reading.spelled).union(*map(self._of_word, reading.any_words))
        for words, short in reading.rows:
            hits |= self._in_a_row(words, short)
        return hits.union(self._without_blanks(reading))

    def _add(self, term: str) -> None:
        words = plain(term.removesuffix("*")).split()
        if _is_unbroken(term):
            self._add_unbroken(plain(term), term)
        elif term.endswith("*"):
            stem = key(words[0])
            self._stems[len(stem)].setdefault(stem, []).append((words[0], term))
        elif len(words) > 1:
            row = keys(words)
            self._phrases[row[0]].append((row, words, term))
            self._add_piece("".join(words), term)
        else:
            self._add_word(words[0], term)

    def _add_word(self, word: str, term: str) -> None:
        self._words[key(word)].append((word, term))
        self._add_piece(word, term)

    def _add_piece(self, word: str, term: str) -> None:
        if len(word) >= _MIN_PIECE:
            self._pieces.setdefault(folded(word), term)
            for starred in _starred(folded(word)):
                self._starred[starred].append(term)

    def _add_unbroken(self, written: str, term: str) -> None:
        by_place = self._starts if re.match(f"[{_KATAKANA}{_HANGUL}]", written) else self._anywhere
        by_place[written] = term

    def _in_word(self, word: str) -> frozenset[str]:
        """The terms that are one word, beginnings of words, and those that a word is glued together from."""
        of, whole = key(word), folded(word)
        hits = {
            term
            for other, term in self._words.get(of, ())
            if word == other or (len(other) >= _MIN_PIECE and _stretches(word, other))
        }
        if of[:_MIN_STEM] in self._stem_starts:
            begun = (stem for length, stems in self._stems.items() for stem in stems.get(of[:length], ()))
            hits.update(term for stem, term in begun if _stretches(word, stem))
        if word not in OTHER_WORDS:
            hits.update(self._starred.get(whole, ()))
            if whole in self._pieces:
                hits.add(self._pieces[whole])
        # Words that are made of nothing else: "nudeteen", not "Essex".
        if 2 * _MIN_PIECE <= len(word) <= _MAX_GLUED and whole[:_MIN_PIECE] in self._piece_starts:
            hits.update(self._pieces_of(whole))
        return frozenset(hits)

    def _pieces_of(self, word: str) -> list[str]:
        ways: list[list[str] | None] = [[], *[None] * len(word)]
        for start in range(len(word)):
            way = ways[start]
            if way is None:
                continue
            for stop in range(start + _MIN_PIECE, min(start + self._longest, len(word)) + 1):
                if ways[stop] is None and (term := self._pieces.get(word[start:stop])):
                    ways[stop] = [*way, term]
        last = ways[-1] or []
        return last if len(last) > 1 else []

    def _spelled(self, spelled: Iterable[str]) -> set[str]:
        hits: set[str] = set()
        for letters in spelled:
            for run in {folded(letters), _TRIPLE.sub(r"\1\1", folded(letters)), key(letters)}:
                for size in range(_MIN_PIECE, min(self._longest, len(run)) + 1):
                    slices = {run[start : start + size] for start in range(len(run) - size + 1)}
                    hits.update(self._pieces[piece] for piece in slices & self._pieces.keys())
        return hits

    def _in_a_row(self, words: list[str], short: list[str]) -> set[str]:
        begun = [(start, of) for start, of in enumerate(short) if of in self._phrases]
        said = {
            (of, place)
            for start, of in begun
            for place, (row, _, _) in enumerate(self._phrases[of])
            if short[start : start + len(row)] == row
        }
        if not said:
            return set()
        written = defaultdict[str, set[str]](set)
        for word, of in zip(words, short, strict=True):
            written[of].add(word)
        phrases = (self._phrases[of][place] for of, place in said)
        return {term for _, wanted, term in phrases if _is_written(written, wanted)}

    def _without_blanks(self, reading: Reading) -> Iterator[str]:
        if reading.plain.isascii():
            return
        whole = f"{reading.plain} {reading.unbroken}"
        yield from (term for written, term in self._anywhere.items() if written in whole)
        yield from (self._starts[start] for start in set(self._begins.findall(reading.plain)) if start)


def _stretches(word: str, wanted: str) -> bool:
    """Whether a word is, or begins with, the wanted one with letters repeated: "teeen" is "teen", "ten" is not."""
    if word == wanted or word in OTHER_WORDS:
        return word == wanted
    pairs = zip(runs(word), runs(wanted), strict=False)
    return all(letter == other and count >= least for (letter, count), (other, least) in pairs)


def _is_written(written: Mapping[str, set[str]], wanted: list[str]) -> bool:
    """Whether each wanted word is somewhere in the text with at least its letters; `written` is words by key."""
    return all(any(_stretches(word, want) for word in written[key(want)]) for want in wanted)


def _starred(word: str) -> Iterator[str]:
    """The word with one or two of its inner letters, or all, as asterisks: "n*de", "t**n"."""
    inner = range(1, len(word) - 1)
    for first in inner:
        for second in inner[first - 1 :] if len(word) > 3 else [first]:
            yield "".join("*" if place in (first, second) else letter for place, letter in enumerate(word))
    yield word[0] + "*" * (len(word) - 2) + word[-1]
