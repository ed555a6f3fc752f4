"""The commands about the caller's own account, against a real server at its contract."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atelier.cli.app import app
from atelier.client import AsyncClient
from atelier.sync_client import Client
from tests.kit.scripted_edge import WEBHOOK_SECRET

pytestmark = pytest.mark.usefixtures("data")


def test_the_secret_of_webhooks_is_printed_and_nothing_else() -> None:
    assert CliRunner().invoke(app, ["webhook-secret"]).stdout == f"{WEBHOOK_SECRET}\n"
    assert json.loads(CliRunner().invoke(app, ["webhook-secret", "--json"]).stdout) == {
        "webhook_secret": WEBHOOK_SECRET
    }


def test_an_account_is_shown_with_bars_and_sizes_that_people_read() -> None:
    shown = CliRunner().invoke(app, ["account"]).stdout
    assert "developer, tier basic, content sfw" in shown
    assert "may: job.video_fast, chat" in shown
    [credits, storage] = [line for line in shown.splitlines() if line.startswith(("credits", "storage"))]
    assert "250 of 1,000" in credits
    assert credits.count("#") * 3 == credits.count(".") == 15
    assert "resets 2026-1" in credits
    assert "5.0 GiB of 5.0 GiB" in storage
    assert storage.count("#") == 20
    assert "resets" not in storage


def test_an_account_is_told_to_programs_as_the_message_says_it() -> None:
    told = json.loads(CliRunner().invoke(app, ["account", "--json"]).stdout)
    assert (told["tier"], told["content_mode"]) == ("basic", "sfw")
    assert told["quotas"][0] == {"name": "credits", "size": 1000, "used": 250, "resets": "2026-12-01T00:00:00Z"}


def test_the_client_gives_the_account() -> None:
    with Client() as client:
        assert client.account().tier == "basic"


async def test_the_asynchronous_client_gives_the_account() -> None:
    async with AsyncClient() as client:
        assert [quota.used for quota in (await client.account()).quotas] == [250, 5 * 2**30]


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
