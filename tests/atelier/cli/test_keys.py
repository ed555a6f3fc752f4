"""The commands about API keys, against a real server at its contract."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atelier import connection
from atelier.cli.app import app
from atelier.sync_client import Client
from edge_service.auth.rpc_scopes import SCOPES
from tests.kit.scripted_edge import API_KEY, KEY_SECRET, Script

pytestmark = pytest.mark.usefixtures("data")


def test_a_new_keys_secret_is_printed_once_with_a_note(script: Script) -> None:
    options = ["--scope", "jobs.read", "--scope", "jobs.write", "--days", "30", "--user", "ann", "--tier", "basic"]
    result = CliRunner().invoke(app, ["keys", "create", "nightly", *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == KEY_SECRET
    assert result.stdout.count(KEY_SECRET) == 1
    assert "shown this once" in result.stdout
    [asked] = script.keys_asked
    assert (asked.name, list(asked.scopes), asked.user_id, asked.tier) == (
        "nightly", ["jobs.read", "jobs.write"], "ann", "basic"
    )  # fmt: skip
    assert asked.lifetime.seconds == 30 * 86400


def test_what_is_left_out_is_left_to_the_edge(script: Script) -> None:
    line = CliRunner().invoke(app, ["keys", "create", "nightly", "--json"]).stdout
    assert json.loads(line)["secret"] == KEY_SECRET
    assert json.loads(line)["key"]["id"] == API_KEY
    [asked] = script.keys_asked
    assert not asked.HasField("lifetime")
    assert (list(asked.scopes), asked.user_id, asked.tier) == ([], "", "")


def test_keys_are_listed_without_their_secrets() -> None:
    line = CliRunner().invoke(app, ["keys", "list"]).stdout
    assert line.split()[:3] == [API_KEY, "ann", "basic"]
    assert json.loads(CliRunner().invoke(app, ["keys", "list", "--json"]).stdout)["scopes"] == [
        "jobs.read", "jobs.write",
    ]  # fmt: skip


def test_no_keys_are_said(script: Script) -> None:
    script.has_keys = False
    assert CliRunner().invoke(app, ["keys", "list"]).stdout.startswith("no keys")
    assert CliRunner().invoke(app, ["keys", "list", "--json"]).stdout == ""


@pytest.mark.parametrize("days", ["0", "-1", "nan"])
def test_days_that_no_key_lives_are_named(script: Script, days: str) -> None:
    result = CliRunner().invoke(app, ["keys", "create", "nightly", "--days", days])
    assert result.exit_code == 2
    assert "--days" in result.stderr
    assert f"must be more than 0 days, got {days}" in result.stderr
    assert script.keys_asked == []


@pytest.mark.parametrize("secret", [KEY_SECRET, f"{API_KEY}_{'x' * 20}_{'-' * 21}_", f" {KEY_SECRET}\n"])
def test_a_key_is_revoked_by_its_whole_secret(secret: str) -> None:
    result = CliRunner().invoke(app, ["keys", "revoke", secret])
    assert "revoked 2024-12-19" in result.stdout
    assert secret.strip() not in result.output


def test_the_help_names_every_scope() -> None:
    text = CliRunner().invoke(app, ["keys", "create", "--help"]).stdout
    assert [scope for scope in SCOPES if scope not in text] == []


def test_a_key_is_revoked_by_its_id() -> None:
    result = CliRunner().invoke(app, ["keys", "revoke", API_KEY])
    assert "revoked 2024-12-19" in result.stdout
    assert CliRunner().invoke(app, ["keys", "revoke", "atl_another"]).exit_code == 1


def test_the_client_makes_lists_and_revokes_keys() -> None:
    with Client() as client:
        assert client.create_key("nightly", days=1).secret == KEY_SECRET
        [listed] = client.keys()
        assert listed.id == API_KEY
        assert client.revoke_key(API_KEY).HasField("revoked")


def test_a_key_is_taken_from_the_environment_as_the_developer_token_is(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_TOKEN", KEY_SECRET)
    assert connection.find().metadata == (("authorization", f"Bearer {KEY_SECRET}"),)
