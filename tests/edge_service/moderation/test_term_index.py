import pytest

from edge_service.moderation.normalize import Reading
from edge_service.moderation.term_index import Terms, problem

TERMS = ["teen", "sex", "ass", "school uniform", "nackt*", "少女", "ロリ", "로리", "👧", "cp", "no clothes", "kid"]


def found(text: str) -> set[str]:
    return Terms(TERMS).found(Reading.of(text))


@pytest.mark.parametrize(
    "text",
    [
        "Essex, Sussex and Middlesex", "a class of assassins in Scunthorpe", "teenage engineering synth",
        "ten classics", "sextant", "kidney", "asset", "canteen", "nineteen", "a kidskin glove", "cpu", "ccp",
        "no, clothesline",
        "カロリー", "칼로리", "Teeniest", "a.s.a.p", "seek",
    ],
)  # fmt: skip
def test_a_word_is_not_found_within_another(text: str):
    assert found(text) == set()


@pytest.mark.parametrize("text", ["teen", "Teen!", "(teen)1.3", "t33n", "t e e n", "te-en", "teeeen", "t**n", "teen's"])
def test_a_word_is_found_in_every_disguise(text: str):
    assert found(text) == {"teen"}


def test_words_without_a_blank_between_them_are_found_if_nothing_is_left():
    assert found("teensex") == {"teen", "sex"}
    assert found("teensexy") == set()


def test_words_in_a_row_are_found_whatever_signs_are_between():
    for text in ("school uniform", "school-uniform", "school_uniform", "(school)1.2 (uniform)1.2", "sch00l un1form"):
        assert found(text) == {"school uniform"}
    assert found("a uniform of the school") == set()


def test_a_beginning_is_found_at_the_beginning_of_a_word():
    assert found("nacktes Bild") == {"nackt*"}
    assert found("splitternackt") == set()


def test_scripts_without_blanks_are_found_anywhere_and_those_with_at_the_start_of_a_word():
    assert found("美少女の絵") == {"少女"}
    assert found("少 女") == {"少女"}
    assert found("ロリータ") == {"ロリ"}
    assert found("👧🏽 plays") == {"👧"}


def test_a_short_word_is_not_stretched():
    assert found("cp") == {"cp"}
    assert found("cpp") == set()


@pytest.mark.parametrize("term", ["", "*", "a*b", "two words*", "ab*", "one two three four five six", "a-b", "r34"])
def test_a_term_that_could_not_be_found_is_named_as_a_problem(term: str):
    assert problem(term)


@pytest.mark.parametrize("term", [*TERMS, "18禁", "весна"])
def test_a_good_term_has_no_problem(term: str):
    assert problem(term) == ""


def test_no_terms_find_nothing():
    assert Terms([]).found(Reading.of("a fox ロ 👧")) == set()
