"""`atelier`, or `python -m atelier`: the command line."""

from atelier.cli.app import app


def main() -> None:
    """Runs one command; the process's exit code is 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    app()


if __name__ == "__main__":
    main()
