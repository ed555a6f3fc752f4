"""Commands about API keys: keys create, keys list, keys revoke."""

from collections.abc import Sequence
from typing import Annotated

import typer

from atelier.cli import options
from atelier.cli.running import run
from atelier.cli.screen import Screen, screen
from atelier.client import AsyncClient
from atelier.contracts.json_form import to_spec_dict
from atelier.pb.edge.v1 import edge_pb2

app = typer.Typer(name="keys", help="Make, list and revoke API keys.", no_args_is_help=True)

SCOPES = (
    "What it may do, such as jobs.write; repeat it: jobs.read, jobs.write, chat, assets.read, assets.write, account,"
    " fleet.read, fleet.write, keys. Default: jobs, chat and assets."
)
User = Annotated[str, typer.Option(help="Whose. Another than yourself only if you administer keys.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, 1 to 100 characters.")],
    scope: Annotated[list[str] | None, typer.Option(help=SCOPES)] = None,
    days: Annotated[float | None, typer.Option(help="Days until it expires. Default: 90.")] = None,
    user: User = "",
    tier: Annotated[str, typer.Option(help="The tier of its owner, if you administer keys. Default: yours.")] = "",
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Make an API key and print its secret: it is shown this once, and stored nowhere.

    Who makes pictures needs jobs.write to ask for them, jobs.read to follow them and assets.read to download them.

    The holder sets ATELIER_TOKEN to it, or sends it as bearer token.

    Example: atelier keys create "nightly pictures" --scope jobs.write --scope jobs.read --scope assets.read --days 30
    """
    if days is not None and not days > 0:
        raise typer.BadParameter(f"must be more than 0 days, got {days:g}", param_hint="--days")
    shown = screen(json)
    run(_create(edge, shown, name, scope or (), days, user, tier), shown)


@app.command("list")
def list_(user: User = "", edge: options.Edge = "", json: options.Json = False) -> None:
    """List API keys, newest first, without their secrets.

    Example: atelier keys list
    """
    shown = screen(json)
    run(_list(edge, shown, user), shown)


@app.command()
def revoke(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="The key's id, which its secret begins with, or that secret.")
    ],
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Revoke an API key, and the keys that were made with it.

    Example: atelier keys revoke atl_abcdefghijklmnop
    """
    shown = screen(json)
    run(_revoke(edge, shown, key), shown)


async def _create(
    edge: str, shown: Screen, name: str, scopes: Sequence[str], days: float | None, user: str, tier: str
) -> None:
    async with AsyncClient(edge) as client:
        made = await client.create_key(name, scopes=scopes, days=days, user_id=user, tier=tier)
    note = "keep it now: it is shown this once, and stored nowhere"
    shown.say(f"{made.secret}\n{_line(made.key)}\n{note}", secret=made.secret, key=to_spec_dict(made.key))


async def _list(edge: str, shown: Screen, user: str) -> None:
    async with AsyncClient(edge) as client:
        found = await client.keys(user)
    for key in found:
        shown.message(key, _line(key))
    if not found:
        shown.say("no keys; `atelier keys create NAME` makes one")


async def _revoke(edge: str, shown: Screen, key_id: str) -> None:
    async with AsyncClient(edge) as client:
        key = await client.revoke_key(_id(key_id))
    shown.message(key, _line(key))


def _id(key: str) -> str:
    """The id in a secret, `atl_<id>_<random>`, whose random part may hold underscores too; an id stays as it is."""
    return "_".join(key.strip().split("_")[:2])


def _line(key: edge_pb2.ApiKey) -> str:
    day = f"{key.expires.ToDatetime():%Y-%m-%d}"
    state = f"revoked {key.revoked.ToDatetime():%Y-%m-%d}" if key.HasField("revoked") else f"expires {day}"
    used = f"used {key.last_used.ToDatetime():%Y-%m-%d}" if key.HasField("last_used") else "never used"
    return f"{key.id}  {key.user_id}  {key.tier}  {state}  {used}  {' '.join(key.scopes)}  {key.name}"
