"""The commands, assembled."""

import typer

from atelier.cli import account, assets, doctor, keys, looking, making, policy, stack

app = typer.Typer(
    name="atelier",
    help="Images, videos and chat from your own machines. Start with `atelier demo`, or `atelier up`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS = (
    stack.demo,
    stack.up,
    stack.models,
    doctor.doctor,
    making.image,
    making.video,
    making.chat,
    making.submit,
    making.upload,
    making.retry,
    looking.jobs,
    looking.watch,
    looking.why,
    looking.cancel,
    looking.catalog,
    account.account,
    account.webhook_secret,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(assets.app)
app.add_typer(keys.app)
app.add_typer(policy.app, name="policy")
