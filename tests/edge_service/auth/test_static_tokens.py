from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atelier.contracts.errors import Unauthenticated
from edge_service.auth import Principal, Tokens, developer_token

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


@pytest.mark.parametrize("held", ["", " \n", "short", "of two words that are long enough", "a" * 16 + "\n" + "b" * 16])
def test_a_file_that_holds_no_token_stops_the_start(tmp_path: Path, held: str):
    (tmp_path / "token").write_text(held)
    with pytest.raises(SystemExit, match=f"^{tmp_path}/token: .*; remove it, and a new one is made"):
        developer_token(tmp_path)


def test_nobody_is_let_in_by_no_token():
    with pytest.raises(Unauthenticated, match="not known"):
        Tokens({"": ANN}).guard("/x", {"authorization": "Bearer"})


def test_two_processes_that_make_it_at_once_have_the_same(tmp_path: Path):
    with ThreadPoolExecutor(8) as several:
        assert len(set(several.map(developer_token, [tmp_path] * 32))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["token"]


def test_two_installations_never_share_a_token(tmp_path: Path):
    assert developer_token(tmp_path / "a") != developer_token(tmp_path / "b")
