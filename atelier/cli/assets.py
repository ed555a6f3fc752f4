"""Commands about what is stored: assets, assets delete."""

from typing import Annotated

import typer

from atelier.cli import options
from atelier.cli.account import size
from atelier.cli.running import run
from atelier.cli.screen import Screen, screen
from atelier.client import AsyncClient
from atelier.results import StoredAsset

app = typer.Typer(name="assets", invoke_without_command=True)


@app.callback()
def assets(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Most assets to show.")] = 20,
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """List your pictures and videos, uploads too, newest first, with their keys; `assets delete KEY` removes one.

    Example: atelier assets --limit 100
    """
    if context.invoked_subcommand is None:
        shown = screen(json)
        run(_assets(edge, limit, shown), shown)


@app.command()
def delete(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The asset's key, as `atelier assets` lists it.")],
    edge: options.Edge = "",
    json: options.Json = False,
) -> None:
    """Delete an asset for good. Its job still tells that it was made.

    Example: atelier assets delete developer/sdxl_image_high_1734567890_abc123/image_0.png
    """
    shown = screen(json)
    run(_delete(edge, key, shown), shown)


async def _assets(edge: str, limit: int, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        found = await client.assets(limit)
    if found:
        shown.say(_row("created", "type", "size", "key"))
    for asset in found:
        shown.message(asset.message, _row(_clock(asset), asset.mime_type, size(asset.size), asset.key))
    if not found:
        shown.say("no assets")


async def _delete(edge: str, key: str, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        await client.delete_asset(key)
    shown.say(f"{key} is deleted", deleted=key)


def _row(created: str, kind: str, size: str, key: str) -> str:
    return f"{created:<19}  {kind:<10}  {size:>10}  {key}"


def _clock(asset: StoredAsset) -> str:
    return asset.created.astimezone().strftime("%Y-%m-%d %H:%M:%S")
