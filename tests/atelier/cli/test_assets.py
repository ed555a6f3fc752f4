"""The commands about what is stored, against a real server at its contract."""

import json

import pytest
from typer.testing import CliRunner

from atelier.cli.app import app
from tests.kit.scripted_edge import KEY, PNG, Script, stored_image

pytestmark = pytest.mark.usefixtures("data")


def test_what_is_stored_is_listed_with_its_key_and_size(script: Script) -> None:
    script.stored = [stored_image()] * 3
    header, *rows = CliRunner().invoke(app, ["assets", "--limit", "2"]).stdout.splitlines()
    assert header.split() == ["created", "type", "size", "key"]
    assert [row.split()[2:] for row in rows] == [["image/png", "390.6", "KiB", KEY]] * 2


def test_programs_get_what_is_stored_as_json(script: Script) -> None:
    script.stored = [stored_image()]
    [line] = CliRunner().invoke(app, ["assets", "--json"]).stdout.splitlines()
    assert (json.loads(line)["key"], int(json.loads(line)["bytes"])) == (KEY, len(PNG))


def test_nothing_stored_is_said() -> None:
    assert CliRunner().invoke(app, ["assets"]).stdout == "no assets\n"


def test_an_asset_is_deleted_by_its_key(script: Script) -> None:
    result = CliRunner().invoke(app, ["assets", "delete", KEY])
    assert result.stdout == f"{KEY} is deleted\n"
    assert script.deleted == [KEY]
    assert CliRunner().invoke(app, ["assets", "delete", "ann/job/image_1.png"]).exit_code == 1


@pytest.mark.parametrize("words", [["assets"], ["assets", "delete"]])
def test_every_help_teaches_with_an_example(words: list[str]) -> None:
    assert "Example: atelier assets" in CliRunner().invoke(app, [*words, "--help"]).stdout
