"""Does a text say an age under 18, a school year, or a year of birth that makes one?"""

import re
from collections.abc import Iterator, Sequence

from edge_service.moderation.normalize import SIGNED, Reading, by_word, key, plain
from edge_service.moderation.words import age_words as words

MAJORITY = 18
# A number keeps what follows it without a blank, so that "16:9", "1.5" and "1,000" are not taken for ages.
_TOKENS = re.compile(r"\d+(?:[^\w\s]\d+)*|[^\W\d_]+")
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_RATIO = re.compile(r"\d+[:×*]\d")
# Letters in the place of digits: "l4 yo", "1o years old".
_LETTER_DIGITS = re.compile(r"(?<![^\W_])[il](?=\d(?!\d))")
_DIGIT_LETTERS = re.compile(r"(?<![^\W_])(\d)o(?![^\W_])")
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])(?:[^\w\s]|_)+(?=[^\W\d_])")
_YO = re.compile(r"(?<=\d)\s?y0(?![^\W_])")
_REPEATED, _LETTERS = re.compile(r"([^\W\d_])\1\1"), re.compile(r"[^\W\d_]+")
_ALMOST = re.compile(r"(?<![^\W_])(?:almost|nearly|soon)\s{1,3}(?:18|eighteen)(?![^\W_])")
_ASIAN_NUMBER = "〇零一二三四五六七八九"
_ASIAN_AGE = re.compile(rf"(?<!\d)(\d{{1,3}}|[{_ASIAN_NUMBER}十百]{{1,5}})\s*(?:歳|才|岁|歲|세|살)")
_KOREAN_AGE = re.compile(r"(?<![가-힣])(?:(열)\s?)?(하나|한|둘|두|셋|세|넷|네|다섯|여섯|일곱|여덟|아홉|열)\s?살")
_KOREAN_LAST = ("여덟", "아홉")
_ASIAN_BORN = re.compile(
    r"(?<!\d)(\d{4})\s*(?:年|년)\s*(?:\d+\s*(?:月|월)\s*)?(?:\d+\s*(?:日|일)\s*)?(?:生|出生|생|출생|태어)"
)
_UNDER_SIGN = re.compile(r"<\s?1[234678](?!\d)")
# As people give age and sex in one: "15f", "15/m". Not "f/11", which is an aperture, nor "15m", which is a length.
_AGE_AND_SEX = re.compile(r"(?<![^\W_.,:/])(?:(?:1[0-7]|[7-9])/?f|(?:1[0-7]|[7-9])/m)(?![^\W_])")
_PERSON_MIN = 10
_BEFORE, _AFTER = 2, 4  # how many neighbours of a number matter


def _set(names: Sequence[str]) -> frozenset[str]:
    return frozenset(plain(name) for name in names)


NUMBERS = {plain(word): number for word, number in words.NUMBERS.items()}
BEGINNINGS = NUMBERS | {plain(word): number for word, number in words.BEGINNINGS.items()}
TENS, FILLERS, JOINING = _set(words.TENS), _set(words.FILLERS), _set(words.JOINING)
AGE_AFTER, AGE_STEMS, YEARS = _set(words.AGE_AFTER), _set(words.AGE_STEMS), _set(words.YEARS + words.MONTHS)
OLD = _set(words.OLD)
AGE_BEFORE, PERSON, UNDER, NOT_YET = (
    _set(words.AGE_BEFORE), _set(words.PERSON), _set(words.UNDER), _set(words.NOT_YET),
)  # fmt: skip
MONTHS, BORN = _set(words.MONTHS), _set(words.BORN)
GRADE_AFTER, GRADE_BEFORE, ORDINALS = _set(words.GRADE_AFTER), _set(words.GRADE_BEFORE), _set(words.ORDINALS)
_KEYS = {key(word): word for word in {*NUMBERS, *AGE_AFTER, *YEARS, *OLD, *AGE_BEFORE, *BORN, *UNDER}}


def tells_minor(reading: Reading, year: int) -> bool:
    """Whether any age in the text is under 18 in `year`, the current one."""
    texts = [reading.plain, *reading.spelled, _BETWEEN_LETTERS.sub("", reading.plain)]
    if _REPEATED.search(reading.plain) or any(_undisguised(word) != word for word in set(reading.signed)):
        texts += [form.sub(lambda word: _undisguised(word[0]), reading.plain) for form in (SIGNED, _LETTERS)]
    seen: list[list[str]] = []
    for tokens in map(_tokens, texts):
        if tokens not in seen:
            seen.append(tokens)
    return _in_signs(reading.plain, year) or any(_in_tokens(tokens, year) for tokens in seen)


@by_word
def _undisguised(word: str) -> str:
    """A number or a word of age for what is written with signs or with letters repeated: "f0urteen", "yeeears"."""
    if word.isdecimal() or (word.isalpha() and not _REPEATED.search(word)):
        return word
    return _KEYS.get(key(word), word)


def _tokens(text: str) -> list[str]:
    text = _DIGIT_LETTERS.sub(r"\g<1>0", _LETTER_DIGITS.sub("1", text))
    return [token for token in _TOKENS.findall(_YO.sub(" yo", text)) if token not in FILLERS]


def _in_tokens(tokens: list[str], year: int) -> bool:
    padded = [*[""] * _BEFORE, *tokens, *[""] * _AFTER]
    told = {token for token in tokens if token in BORN or _numbers(token)}
    if not told:
        return False
    rows = set(zip(*(padded[start:] for start in range(_BEFORE + 1 + _AFTER)), strict=False))
    return any(_tells(row, year) for row in rows if row[_BEFORE] in told)


def _tells(near: tuple[str, ...], year: int) -> bool:
    """Whether a token with its neighbours is an age under 18, or a year of birth."""
    token = near[_BEFORE]
    if token in BORN:
        return any(_is_recent(other, year) for other in near)
    return any(_is_age(number, near) for number in _numbers(token))


@by_word
def _numbers(token: str) -> tuple[int, ...]:
    """The numbers under 19 that a token holds, also one with its unit in the same word ("vierzehnjährige")."""
    return tuple(_numbers_in(token))


def _numbers_in(token: str) -> Iterator[int]:
    if token in NUMBERS:
        yield NUMBERS[token]
    elif token[:1].isdecimal():
        if not _THOUSANDS.fullmatch(token) and not _RATIO.match(token):
            yield from (int(part) for part in re.findall(r"\d+", token)[:3] if len(part) <= 2)
    else:
        beginning = next((token.partition(stem)[0] for stem in AGE_STEMS if stem in token), "")
        if beginning in BEGINNINGS:
            yield BEGINNINGS[beginning]


def _is_age(number: int, near: tuple[str, ...]) -> bool:
    """Whether a number is an age under 18 by the words beside it."""
    earlier, before, token, after, second, third, _ = near
    if (before in UNDER and number in words.UNDER_AGES) or (before in NOT_YET and number == MAJORITY):
        return True
    if after in MONTHS and not OLD.isdisjoint((second, third)):
        return True
    if number >= MAJORITY or before in TENS or (before in JOINING and earlier in TENS):
        return False
    return (
        before in AGE_BEFORE
        or (earlier in AGE_BEFORE and before in ("between", "from", "to", "von", "entre", "tussen"))
        or (before in PERSON and number >= _PERSON_MIN)
        or _has_unit(near[_BEFORE + 1 :])
        or (any(stem in token for stem in AGE_STEMS))
        or (number <= 13 and (after in GRADE_AFTER or (after in ORDINALS and second in GRADE_AFTER)))
        or (number <= 13 and before in GRADE_BEFORE)
    )


def _has_unit(following: tuple[str, ...]) -> bool:
    """ "12 yo", "12-year-old", "12 years of age", "12 to 15 years old"."""
    after, second, third, fourth = following
    if after in AGE_AFTER or any(after.startswith(stem) for stem in AGE_STEMS):
        return True
    if after in ("to", "or", "bis", "oder", "half") and second in YEARS | AGE_AFTER:
        after, second, third = second, third, fourth
    if after in ("to", "or", "bis", "oder") and second[:1].isdecimal() and third in YEARS | AGE_AFTER:
        return True
    return after in YEARS and (second in OLD or third in OLD)


def _is_recent(token: str, year: int) -> bool:
    """Whether a token is, or ends in, a year of birth of a person who may be under 18."""
    years = [int(part) for part in re.findall(r"\d+", token)[:3] if len(part) == 4]
    return any(born >= year - MAJORITY for born in years)


def _in_signs(text: str, year: int) -> bool:
    """Ages that are told by signs and by scripts without blanks."""
    if _UNDER_SIGN.search(text) or _ALMOST.search(text) or _AGE_AND_SEX.search(text):
        return True
    if text.isascii():
        return False
    if any(_asian_number(found[1]) < MAJORITY for found in _ASIAN_AGE.finditer(text)):
        return True
    if any(not (found[1] and found[2] in _KOREAN_LAST) for found in _KOREAN_AGE.finditer(text)):
        return True
    return any(_is_recent(found[1], year) for found in _ASIAN_BORN.finditer(text))


def _asian_number(written: str) -> int:
    """The value of a number under 1000 in digits or in Han."""
    if written.isdecimal():
        return int(written)
    value, digit = 0, 0
    for sign in written:
        if sign in "十百":
            value, digit = value + max(digit, 1) * (10 if sign == "十" else 100), 0
        else:
            digit = max(0, _ASIAN_NUMBER.index(sign) - 1)
    return value + digit
