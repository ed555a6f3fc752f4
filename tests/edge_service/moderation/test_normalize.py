import random

import pytest

from edge_service.moderation.normalize import Reading, key, keys, plain

# A few of everything: marks, joiners, tags, fillers, presentation forms, Hangul, kana, and the rest.
BLOCKS = [(0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x1100, 0x1200), (0x2000, 0x2400), (0x3040, 0x3100)]
BLOCKS += [(0x3300, 0x3400), (0xAC00, 0xB000), (0xFB00, 0x10000), (0x1D400, 0x1D800), (0x1F100, 0x1FB00)]
BLOCKS += [(0xE0000, 0xE0200), (0x10000, 0x110000)]


def any_text(source: random.Random, length: int) -> str:
    return "".join(chr(source.randrange(*source.choice(BLOCKS))) for _ in range(length))


@pytest.mark.parametrize(
    "disguised",
    [
        "TEEN", "ｔｅｅｎ", "𝓽𝓮𝓮𝓷", "ⓣⓔⓔⓝ", "🅣🅔🅔🅝", "🆃🅴🅴🅽", "🇹🇪🇪🇳", "ᴛᴇᴇɴ", "тееn", "τεεη", "tëẽn",
        "t̶e̶e̶n̶",
        "te\u200ben", "te\u00aden", "te\u2060en", "\u202eteen", "te\u3164en", "te\U000e0061en", "ŧɇɇn",
    ],
)  # fmt: skip
def test_look_alikes_are_read_as_what_they_look_like(disguised: str):
    assert plain(disguised) == "teen"


@pytest.mark.parametrize("disguised", ["t33n", "7een", "t€€n", "teeeen", "t3eeen"])
def test_signs_for_letters_and_repeated_letters_have_the_key_of_the_word(disguised: str):
    assert key(plain(disguised)) == key("teen")


def test_one_and_l_are_each_i_or_l_without_merging():
    assert key("ch1ld") == key("chi1d") == key("child")
    assert key("flick") != key("fick")


def test_digits_of_every_script_are_digits():
    assert plain("١٤ １４ 𝟏𝟒 ⑭ ⒁ 1️⃣4️⃣").split() == ["14"] * 6


def test_a_fraction_is_no_digit_of_the_number_before_it():
    assert plain("17½").split() == ["17"]


def test_a_possessive_is_its_word():
    assert plain("child's children’s boss") == "child children boss"


def test_russian_capitals_and_small_letters_are_the_same():
    assert plain("ДЕТИ ПОДРОСТОК") == plain("дети подросток")


def test_marks_that_make_another_kana_stay():
    assert plain("こども") != plain("ことも")


def test_words_are_parted_by_signs_and_digits():
    assert Reading.of("nude_teen12, te-en").words == ["nude", "teen", "12", "te", "en"]


def test_pieces_are_joined_where_someone_may_have_parted_them():
    read = Reading.of("te-en, t.e.e.n, te en, t een, tee n")
    assert "teen" in read.joined
    assert Reading.of("the rapist arrived").joined == frozenset({"the", "rapist", "arrived"})


def test_single_letters_are_put_together():
    assert Reading.of("a photo: t e e n  g.i.r.l").spelled == ["teengirl"]


def test_text_in_invisible_tags_is_read():
    assert "teen" in Reading.of("a fox \U000e0074\U000e0065\U000e0065\U000e006e").words


def test_no_text_raises_or_grows():
    source = random.Random(4)
    for _ in range(300):
        text = any_text(source, source.randrange(200))
        assert len(Reading.of(text).plain) <= 3 * len(text)
    for point in range(0, 0x110000, 7):
        Reading.of(chr(point))


@pytest.mark.parametrize(
    "text", ["A girl's Dog's 's s'S x's1", "tab\tnull\x00bell\x07del\x7fend", "T33N_x*!|+ 1'st don't"]
)
def test_ascii_is_read_the_short_way_with_the_same_result(text: str):
    assert plain(text) + " e" == plain(text + " é")
    assert plain("é " + text) == "e " + plain(text)


def test_a_long_word_is_read_as_a_short_one_is():
    assert keys(["t33n" * 40, "t33n"]) == ["ten" * 40, "ten"]
