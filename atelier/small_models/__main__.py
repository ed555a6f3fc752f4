"""`python -m atelier.small_models [sdxl wan chat]`: make or fetch the small models, and say where they are."""

import os
import sys

from atelier.small_models.cache import KINDS, SmallModelError, ensure

# What the libraries would print between our own lines; they read it when they are first imported, by `ensure`.
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}


def main(kinds: list[str]) -> int:
    """Make the models named (all when none is named); returns the process's exit status."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        folders = ensure(kinds or KINDS, progress=print)
    except SmallModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for kind, folder in folders.items():
        print(f"{kind:5} {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
