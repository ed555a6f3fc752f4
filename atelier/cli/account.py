"""Commands about the caller's own account: webhook-secret."""

from atelier.cli import options
from atelier.cli.running import run
from atelier.cli.screen import Screen, screen
from atelier.client import AsyncClient


def webhook_secret(edge: options.Edge = "", json: options.Json = False) -> None:
    """Print the secret that signs your webhooks. Keep it where the receiver checks them, and nowhere else.

    Example: atelier webhook-secret
    """
    shown = screen(json)
    run(_webhook_secret(edge, shown), shown)


async def _webhook_secret(edge: str, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        secret = await client.webhook_secret()
    shown.say(secret, webhook_secret=secret)
