"""Commands about the caller's own account: account, webhook-secret."""

from datetime import UTC

from atelier.cli import options
from atelier.cli.running import run
from atelier.cli.screen import Screen, screen
from atelier.client import AsyncClient
from atelier.contracts.validation import enum_word
from atelier.pb.edge.v1 import edge_pb2

BAR_WIDTH = 20
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def account(edge: options.Edge = "", json: options.Json = False) -> None:
    """Show your tier, what you may do, and how much of each limit is used.

    Example: atelier account
    """
    shown = screen(json)
    run(_account(edge, shown), shown)


def webhook_secret(edge: options.Edge = "", json: options.Json = False) -> None:
    """Print the secret that signs your webhooks. Keep it where the receiver checks them, and nowhere else.

    Example: atelier webhook-secret
    """
    shown = screen(json)
    run(_webhook_secret(edge, shown), shown)


async def _account(edge: str, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        found = await client.account()
    shown.message(found, _drawn(found))


async def _webhook_secret(edge: str, shown: Screen) -> None:
    async with AsyncClient(edge) as client:
        secret = await client.webhook_secret()
    shown.say(secret, webhook_secret=secret)


def _drawn(account: edge_pb2.GetAccountResponse) -> str:
    mode = enum_word("ContentMode", edge_pb2.ContentMode.Name(account.content_mode))
    head = f"{account.user_id}, tier {account.tier}, content {mode}"
    permissions = f"may: {', '.join(account.permissions)}"
    urgency = f"priority of a request: {account.least_priority} to {account.most_priority}"
    return "\n".join([head, permissions, urgency, *map(_line, account.quotas)])


def _line(quota: edge_pb2.Quota) -> str:
    filled = min(BAR_WIDTH, round(BAR_WIDTH * quota.used / quota.size)) if quota.size else BAR_WIDTH
    bar = "#" * filled + "." * (BAR_WIDTH - filled)
    write = size if quota.name.endswith("_bytes") else _number
    line = f"{quota.name:<19}  {bar}  {f'{write(quota.used)} of {write(quota.size)}':<24}"
    return f"{line}  resets {_clock(quota)}" if quota.HasField("resets") else line.rstrip()


def _number(count: int) -> str:
    return f"{count:,}"


def size(count: int) -> str:
    """So many bytes, such as "1.5 MiB"."""
    power = min(max(count.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    return f"{count / 1024**power:.1f} {UNITS[power]}" if power else f"{count} B"


def _clock(quota: edge_pb2.Quota) -> str:
    return quota.resets.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
