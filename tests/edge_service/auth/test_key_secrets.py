"""What an API key looks like, and that a guess is told from one without asking anybody."""

import pytest

from edge_service.auth.key_secrets import digest, id_of, mint

HOUSE = b"house" * 8


def test_a_key_names_its_id_and_no_two_are_alike():
    made = [mint(HOUSE) for _ in range(100)]
    assert len({secret for _, secret in made}) == len({key_id for key_id, _ in made}) == 100
    for key_id, secret in made:
        assert secret.startswith(f"{key_id}_")
        assert id_of(secret, HOUSE) == key_id
        assert len(secret) - len(key_id) - 1 == 43  # 32 random bytes
        assert len(digest(secret)) == 32


def test_a_key_of_another_house_is_none_here():
    assert id_of(mint(b"another" * 5).secret, HOUSE) is None


@pytest.mark.parametrize("spoilt", ["", "atl_", "atl_a_b", "atl_" + "a" * 16 + "_" + "x" * 43])
def test_a_guess_is_no_key(spoilt: str):
    assert id_of(spoilt, HOUSE) is None


def test_every_letter_of_the_id_counts():
    key_id, secret = mint(HOUSE)
    for place in range(4, len(key_id)):
        letter = "a" if secret[place] != "a" else "b"
        assert id_of(secret[:place] + letter + secret[place + 1 :], HOUSE) is None
    assert id_of(secret + "x", HOUSE) is None
    assert id_of(secret + "\n", HOUSE) is None
