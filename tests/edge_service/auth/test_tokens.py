from pathlib import Path

import pytest

from edge_service.auth import Principal, Tokens, developer_token
from shared.errors import Unauthenticated

ANN = Principal("ann", "basic")


def test_a_known_token_names_its_owner():
    assert Tokens({"secret": ANN}).guard("/x", {"authorization": "Bearer secret"}) == ANN


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({}, "no token"),
        ({"authorization": ""}, "no token"),
        ({"authorization": b"Bearer secret"}, "no token"),
        ({"authorization": "secret"}, "not a bearer token"),
        ({"authorization": "Basic secret"}, "not a bearer token"),
        ({"authorization": "Bearer "}, "not known"),
        ({"authorization": "Bearer Secret"}, "not known"),
        ({"authorization": "Bearer secre"}, "not known"),
    ],
)
def test_anything_else_is_refused_and_told_how(metadata, says):
    with pytest.raises(Unauthenticated, match=f"{says}.*authorization: Bearer <token>"):
        Tokens({"secret": ANN}).guard("/x", metadata)


def test_the_developer_token_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path):
    token = developer_token(tmp_path / "data")
    assert developer_token(tmp_path / "data") == token
    assert len(token) >= 40
    assert (tmp_path / "data" / "token").stat().st_mode & 0o777 == 0o600


def test_two_installations_never_share_a_token(tmp_path: Path):
    assert developer_token(tmp_path / "a") != developer_token(tmp_path / "b")
