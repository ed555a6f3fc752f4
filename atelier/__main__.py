"""`atelier`, or `python -m atelier`: the command line."""

import os
import sys

# gRPC's own log lines are for its developers; what people should know comes as an error. It reads this when imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> None:
    """Runs one command; the process's exit code is 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    try:
        from atelier.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("rich", "typer"):
            raise
        sys.exit(
            "The command line is not part of the client alone: pip install 'atelier[cli]' to use an edge elsewhere,"
            " 'atelier[local]' to run everything on this machine"
        )
    app()


if __name__ == "__main__":
    main()
