"""Commands that open the stack: up, demo, models."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from atelier import connection, small_models
from atelier.cli import options
from atelier.cli.demo import show
from atelier.cli.running import require_local, run
from atelier.cli.screen import Screen, screen
from atelier.launcher.programs import Plan
from atelier.launcher.stack import Stack, opened
from atelier.small_models.cache import KINDS

Model = Annotated[str, typer.Option(help="Folder or hub id of the model. Default: a small one, made at first start.")]
Checkpoint = Annotated[
    str,
    typer.Option(help="Folder, hub id or .safetensors file of the model. Default: a small one, made at first start."),
]
Listen = Annotated[str, typer.Option(help="Address for gRPC clients, host:port; port 0 takes a free one.")]
WebListen = Annotated[str, typer.Option(help="Address for browsers (gRPC-Web), host:port; port 0 takes a free one.")]
LOCAL = "127.0.0.1:0"


def up(
    sdxl_model: Checkpoint = "",
    wan_model: Model = "",
    chat_model: Model = "",
    listen: Listen = LOCAL,
    web_listen: WebListen = LOCAL,
    json: options.Json = False,
) -> None:
    """Run everything on this machine: edge, three workers, database, proxy for browsers.

    Ctrl-C or SIGTERM stops it all; what crashes is started again. Addresses and token are kept in ATELIER_DATA, where
    the other commands find them.

    Example: atelier up --sdxl-model ~/models/lustify.safetensors --chat-model Qwen/Qwen2.5-7B-Instruct
    """
    require_local()
    shown = screen(json)
    plan = _plan(sdxl_model, wan_model, chat_model, listen, web_listen)
    run(_up(plan, shown), shown, lambda: _stopped(shown))


def demo(
    out: options.Out = Path("out"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards, until Ctrl-C.")] = False,
    sdxl_model: Checkpoint = "",
    wan_model: Model = "",
    chat_model: Model = "",
    json: options.Json = False,
) -> None:
    """Start everything, make one image, one video and one chat answer, save them, and stop everything.

    Example: atelier demo --out out
    """
    require_local()
    shown = screen(json)
    plan = _plan(sdxl_model, wan_model, chat_model, LOCAL, LOCAL)
    run(_demo(plan, out, keep, shown), shown)


def models(json: options.Json = False) -> None:
    """Make or fetch the small models that `atelier up` uses where you name none of your own.

    Example: ATELIER_CACHE=/var/cache/atelier atelier models
    """
    require_local()
    shown = screen(json)
    run(_models(shown), shown)


async def _up(plan: Plan, shown: Screen) -> None:
    async with opened(plan, lambda name, line: shown.say(f"{name:<6} | {line}", process=name, line=line)) as stack:
        shown.say(_table(stack, plan), ready=stack.addresses)
        await stack.supervise()


async def _demo(plan: Plan, out: Path, keep: bool, shown: Screen) -> None:
    began = time.monotonic()
    plan.data.mkdir(parents=True, exist_ok=True)
    with (plan.data / "demo.log").open("w") as log:
        shown.say(f"starting the edge, three workers, the database and the proxy; they log to {log.name}")

        def report(name: str, line: str) -> None:
            print(f"{name:<6} | {line}", file=log, flush=True)
            if name == "models":  # the first time it makes some, which takes a while
                shown.say(line)

        async with opened(plan, report) as stack:
            shown.say(f"ready after {time.monotonic() - began:.1f} s", ready_seconds=time.monotonic() - began)
            async with stack.client() as client:
                await show(client, out, shown)
            if keep:
                shown.say(_table(stack, plan), ready=stack.addresses)
                await stack.supervise()


async def _models(shown: Screen) -> None:
    for kind in KINDS:
        folders = await asyncio.to_thread(small_models.ensure, [kind], None, shown.say)
        shown.say(f"{kind:<5} {folders[kind]}", model=kind, folder=str(folders[kind]))


def _stopped(shown: Screen) -> int:
    shown.say("stopped", stopped=True)
    return 0  # it ran until it was asked to stop, as it should


def _plan(sdxl: str, wan: str, chat: str, listen: str, web_listen: str) -> Plan:
    given = {name: model for name, model in {"sdxl": sdxl, "wan": wan, "chat": chat}.items() if model}
    return Plan(connection.data_folder(), given, listen, web_listen)


def _table(stack: Stack, plan: Plan) -> str:
    rows = {
        **stack.addresses,
        "token": plan.data / "token",
        "try": 'atelier image "a red fox in the snow"',
    }
    return "\n".join(["", "ready", *(f"  {name:<9} {value}" for name, value in rows.items()), ""])
