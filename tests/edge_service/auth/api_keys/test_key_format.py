"""What an API key looks like, and that a guess is told from one without asking anybody."""

import pytest

from edge_service.auth.api_keys.key_format import PREFIX, digest, id_of, is_of, mint

HOUSE = b"house" * 8


def test_a_key_names_its_id_and_no_two_are_alike():
    made = [mint(HOUSE) for _ in range(100)]
    assert len({secret for _, secret in made}) == len({key_id for key_id, _ in made}) == 100
    for key_id, secret in made:
        assert secret.startswith(f"{key_id}_")
        assert id_of(secret) == key_id
        assert is_of(HOUSE, key_id)
        assert len(secret) - len(key_id) - 1 == 43  # 32 random bytes
        assert len(digest(secret)) == 32


def test_a_key_of_another_house_is_none_here():
    assert not is_of(HOUSE, mint(b"another" * 5).id)


@pytest.mark.parametrize("spoilt", ["", "atl_", "atl_a_b", "atl_" + "a" * 16 + "_" + "x" * 42, "ATL_" + "a" * 16])
def test_what_has_another_shape_is_no_key(spoilt: str):
    assert id_of(spoilt) is None


def test_every_letter_of_the_id_counts():
    key_id, secret = mint(HOUSE)
    for place in range(len(PREFIX), len(key_id)):
        letter = "a" if key_id[place] != "a" else "b"
        assert not is_of(HOUSE, key_id[:place] + letter + key_id[place + 1 :])
    assert id_of(secret + "x") is None
    assert id_of(secret + "\n") is None
