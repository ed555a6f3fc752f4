"""`atelier`, or `python -m atelier`: the command line."""

import os

# gRPC's own log lines are for its developers; what people should know comes as an error. It reads this when imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from atelier.cli.app import app


def main() -> None:
    """Runs one command; the process's exit code is 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    app()


if __name__ == "__main__":
    main()
