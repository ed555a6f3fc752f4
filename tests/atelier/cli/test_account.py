"""The commands about the caller's own account, against a real server at its contract."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atelier.cli.app import app
from atelier.client import AsyncClient
from atelier.sync_client import Client
from tests.atelier.scripted_edge import WEBHOOK_SECRET

pytestmark = pytest.mark.usefixtures("data")


def test_the_secret_of_webhooks_is_printed_and_nothing_else() -> None:
    assert CliRunner().invoke(app, ["webhook-secret"]).stdout == f"{WEBHOOK_SECRET}\n"
    assert json.loads(CliRunner().invoke(app, ["webhook-secret", "--json"]).stdout) == {
        "webhook_secret": WEBHOOK_SECRET
    }


def test_a_caller_who_is_not_known_gets_no_secret(data: Path) -> None:
    (data / "token").write_text("nonsense")
    result = CliRunner().invoke(app, ["webhook-secret"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "token" in result.stderr


def test_the_client_gives_the_secret() -> None:
    with Client() as client:
        assert client.webhook_secret() == WEBHOOK_SECRET


async def test_the_asynchronous_client_gives_the_secret() -> None:
    async with AsyncClient() as client:
        assert await client.webhook_secret() == WEBHOOK_SECRET
