import inspect
import logging
import random
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from atelier.contracts.errors import ContentForbidden
from benchmarks.safety import adversarial, benign, hostile, is_refused
from edge_service.moderation import minors as safety
from edge_service.moderation.minors import digest, lowered, refuse
from edge_service.moderation.term_index import problem
from edge_service.moderation.words import age_words
from edge_service.moderation.words import minors_words as safety_words
from edge_service.planning.chat_contexts import contexts
from edge_service.planning.presets import choices
from tests.kit.logs import everything_logged

FORBIDDEN = list(adversarial())
HARMLESS = [
    "a fox",
    "in the snow",
    "beautiful",
    "adult",
    "consent",
    "education",
    "art",
    "medical",
    "safe",
    "legal",
    "news",
]
LANDSCAPE = "hills at dawn"
THIS_YEAR = datetime.now(UTC).year


def refused(prompt: str, negative: str = "") -> bool:
    return is_refused({"prompt": prompt, "config.negative_prompt": negative})


@pytest.mark.parametrize("texts", [texts for _, texts in FORBIDDEN], ids=[name for name, _ in FORBIDDEN])
def test_what_is_forbidden_is_refused(texts: dict[str, str]):
    assert is_refused(texts)


def test_the_sets_are_as_large_as_promised():
    assert len(FORBIDDEN) >= 300
    assert len(list(benign())) >= 250


def test_harmless_requests_mostly_pass():
    prompts = [prompt for _, prompt in benign()]
    assert sum(not refused(prompt) for prompt in prompts) / len(prompts) >= 0.95


def test_no_harmless_word_makes_a_forbidden_text_pass():
    source = random.Random(4)
    for _, texts in source.sample(FORBIDDEN, 120):
        word = source.choice(HARMLESS)
        for before, after in ((f"{word} ", ""), ("", f" {word}"), (f"{word}, ", f", {word}")):
            assert is_refused({field: f"{before}{text}{after}" for field, text in texts.items()}), (texts, word)


def test_no_padding_makes_a_forbidden_text_pass():
    source = random.Random(5)
    for _, texts in source.sample(FORBIDDEN, 60):
        padding = " ".join(source.choices(HARMLESS, k=100))
        assert is_refused({field: f"{padding} {text} {padding}" for field, text in texts.items()}), texts


def test_a_further_field_never_makes_a_request_pass():
    for _, texts in FORBIDDEN[::7]:
        assert is_refused(texts | {"style": "an adult education poster"})


@pytest.mark.parametrize("order", [1, -1])
def test_the_halves_are_refused_in_whatever_fields_they_stand(order: int):
    fields = ["prompt", "compel_weights", "messages[3].content", "style.words", "system_prompt"][::order]
    for first, second in pairwise(fields):
        assert is_refused({first: "a schoolgirl", second: "erotic"})
        assert not is_refused({first: "a schoolgirl", second: "in the rain"})


def test_the_message_names_the_fields_and_nothing_of_the_content():
    with pytest.raises(ContentForbidden) as refusal:
        refuse({"prompt": "a teen in the snow", "compel_weights": "(nude)1.2", "style": "oil painting"})
    assert refusal.value.message == "prompt, compel_weights: sexual content with any indication of a minor is refused"


# What a negative prompt does. The docstring of safety.py is the table.


def test_a_careful_parent_passes():
    assert not refused("a child building a sand castle", "nsfw, nude, naked, sexual, lingerie")


def test_the_usual_negative_prompt_of_a_landscape_passes():
    assert not refused(LANDSCAPE, "nsfw, nude, child, teen")


def test_minors_in_the_negative_prompt_of_a_sexual_prompt_are_refused():
    assert refused("nude woman", "child")


@pytest.mark.parametrize(
    "negative", ["adult", "adult woman", "adult, mature, old", "m.a.t.u.r.e", "erwachsene", "成人"]
)
def test_asking_adulthood_away_is_an_indication_of_a_minor(negative: str):
    assert refused("nude person", negative)
    assert not refused(LANDSCAPE, negative)
    assert not refused("nude person", "ugly, blurry")


@pytest.mark.parametrize("negative", ["clothes", "dress, shirt", "censored", "sfw", "kleidung", "衣服"])
def test_asking_clothes_away_is_sexual(negative: str):
    assert refused("a child by the sea", negative)
    assert not refused(LANDSCAPE, negative)
    assert not refused("a child by the sea", "rain, blurry")


def test_a_negative_prompt_that_negates_is_read_as_a_prompt():
    assert refused("a child by the sea", "no nudity")
    assert not refused("a child by the sea", "nudity")


@pytest.mark.parametrize(
    "weight",
    [
        "({})0.1",
        "({})0",
        "({})-",
        "{}--",
        "({}:0.2)",
        "({} )0.5",
        "(x, {}).3",
        "(({})1)0.1",
        "(a (b)1.1 {})0.1",
        "(({}):0.2)",
    ],
)
def test_a_weight_below_one_takes_back(weight: str):
    assert refused("nude person, " + weight.format("adult"))
    assert refused("a child by the sea, " + weight.format("clothes"))
    assert not refused("a nude person, (adult)1.2")
    assert not refused("a child by the sea, (clothes:1.2), well-dressed")


def test_what_weights_take_back_is_found():
    assert list(lowered("a (b c)0.5 (d)1.5 (e:0.4) (f:1.4) g-- h-i (j)- (k)")) == ["b c", "e", "g", "j"]
    assert list(lowered("((a)1.2 (b)0.5 c)0.3 (((d):0.4)) (e)) ((f")) == ["(a)1.2 (b)0.5 c", "(d)"]


# Ages.


@pytest.mark.parametrize("years", [1, 10, 17, 18])
def test_who_was_born_in_the_last_18_years_may_be_a_minor(years: int):
    assert refused(f"nude woman, born in {THIS_YEAR - years}")


def test_who_was_born_before_is_none():
    assert not refused(f"nude woman, born in {THIS_YEAR - 19}")


@pytest.mark.parametrize("age", [*range(1, 18)])
def test_every_age_under_18_is_refused_in_every_form(age: int):
    english = list(age_words.NUMBERS)[age]
    for form in (f"{age} years old", f"{age}-year-old", f"{age}yo", f"aged {age}", f"{english} years old", f"{age}歳"):
        assert refused(f"nude, {form}")


@pytest.mark.parametrize("age", [18, 19, 25, 43, 71, 100])
def test_ages_from_18_on_pass(age: int):
    for form in (f"{age} years old", f"{age}-year-old", f"{age}yo", f"aged {age}", f"{age} Jahre alt", f"{age}歳"):
        assert not refused(f"nude woman, {form}")


@pytest.mark.parametrize(
    "harmless",
    [
        "16:9", "4:5", "18mm lens", "f/11", "1.5 m", "1,000 years old", "twenty-five-year-old", "trente cinq ans",
        "treinta y cinco años", "二十五歳", "스물다섯 살", "12 candles", "a house of 2015", "no. 7", "15m yacht",
        "3 women",
    ],
)  # fmt: skip
def test_other_numbers_are_no_ages(harmless: str):
    assert not refused(f"nude woman on a chair, {harmless}")


# Fails closed, and cannot be switched off.


class Unreadable(str):
    def isascii(self) -> bool:
        raise RuntimeError("teen nude")


def test_what_cannot_be_checked_is_refused_without_a_word_of_it(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG), pytest.raises(ContentForbidden) as refusal:
        refuse({"prompt": Unreadable("a fox")})
    assert refusal.value.__cause__ is None
    assert refusal.value.message == "request: could not be checked, so it is refused"
    assert "RuntimeError" in caplog.text
    assert "teen" not in everything_logged(caplog)


@pytest.mark.parametrize("texts", [None, {"prompt": None}, {"prompt": b"a fox"}, {7: "a fox", "prompt": 3}])
def test_what_is_no_text_is_refused(texts: object):
    with pytest.raises(ContentForbidden, match="could not be checked"):
        refuse(texts)  # type: ignore[arg-type]


def test_a_mistake_anywhere_inside_refuses(monkeypatch: pytest.MonkeyPatch):
    for name in ("tells_minor", "_taken_back", "_is_forbidden"):
        with monkeypatch.context() as broken:
            broken.setattr(safety, name, lambda *_: 1 / 0)
            assert is_refused({"prompt": f"a fox and {name}"})  # a text that was not read before
        assert not is_refused({"prompt": "a fox"})


def test_nothing_but_the_texts_can_change_the_refusal(repository: Path):
    """No parameter, and no import through which a mode, a tier, a policy or a variable could come in."""
    assert list(inspect.signature(refuse).parameters) == ["texts"]
    rooms = [safety, safety_words, age_words]
    rooms += [
        __import__(f"edge_service.moderation.{name}", fromlist=["_"]) for name in ("ages", "term_index", "normalize")
    ]
    for room in rooms:
        source = inspect.getsource(room)
        assert not any(word in source for word in ("environ", "getenv", "edge_service.policy", "config", "yaml"))
    policies = (repository / "edge_service" / "policies").glob("*.yaml")
    assert not any("safety" in path.name for path in policies)


def test_every_word_of_the_refusal_can_be_found():
    lists = (safety_words.MINOR, safety_words.SEXUAL, safety_words.HOMOGRAPHS_MINOR, safety_words.HOMOGRAPHS_SEXUAL)
    terms = [term for languages in lists for terms in languages.values() for term in terms]
    terms += [term for groups in (safety_words.YOUTH, safety_words.SUGGESTIVE) for of in groups.values() for term in of]
    assert [(term, problem(term)) for term in terms if problem(term)] == []


def test_every_word_for_a_minor_is_refused_beside_every_kind_of_sexual_word():
    for language, minors in safety_words.MINOR.items():
        sexual = safety_words.SEXUAL[language][0].removesuffix("*")
        assert [minor for minor in minors if not refused(f"{sexual}, {minor.removesuffix('*')}")] == []


def test_every_sexual_word_is_refused_beside_a_minor():
    for language, terms in safety_words.SEXUAL.items():
        minor = safety_words.MINOR[language][0]
        assert [term for term in terms if not refused(f"{minor}, {term.removesuffix('*')}")] == []


def test_the_longest_and_strangest_texts_are_read():
    for text in hostile(4096).values():
        assert not is_refused({"prompt": text}) or "teen" in text


# The audit's hash.


def test_a_disguise_does_not_change_the_digest_and_another_text_does():
    assert digest({"prompt": "Nude  TEEN"}) == digest({"prompt": "nude te\u200ben"})
    assert digest({"prompt": "a fox"}) != digest({"prompt": "a dog"})
    assert digest({"prompt": "a fox"}) != digest({"negative_prompt": "a fox"})


def test_a_digest_can_be_keyed_and_is_hexadecimal():
    assert digest({"prompt": "a fox"}, b"house") != digest({"prompt": "a fox"})
    assert len(bytes.fromhex(digest({"prompt": "a fox"}))) == 32


def test_what_the_house_adds_is_no_half_of_what_is_refused():
    """System prompts, qualities and styles are judged with the texts of a user: alone they must tell of nothing."""
    added = [text for context in contexts().contexts.values() for text in (context.sfw, context.nsfw)]
    added += [words.prompt for words in (*choices().qualities.values(), *choices().styles.values())]
    for text in added:
        safety.refuse(
            {"messages[0].content": text, "messages[1].content": "a birthday cake for my five year old child"}
        )
        safety.refuse({"messages[0].content": text, "messages[1].content": "a nude woman"})
    for words in (*choices().qualities.values(), *choices().styles.values()):
        safety.refuse({"prompt": "a child with a kite", "config.negative_prompt": words.negative_prompt})
        safety.refuse({"prompt": "a nude woman", "config.negative_prompt": words.negative_prompt})


@pytest.mark.parametrize("text", ["te&#101;n", "&#x74;een", "te&amp;#101;n", "te&shy;en", "14&nbsp;years&nbsp;old"])
def test_what_is_written_as_html_is_read_as_it_is_meant(text: str):
    with pytest.raises(ContentForbidden):
        refuse({"prompt": f"nude {text}"})
    refuse({"prompt": f"a {text} on a bicycle"})
