"""`python -m edge_service.policies`: checks, shows and compares policies. `atelier policy` calls it."""

import argparse
import json
import os
import sys
from typing import Any

import yaml

from edge_service.policies.registry import SCHEMAS, checked, load
from edge_service.policy.difference import ABSENT, changes
from edge_service.policy.folder import BUILT_IN_WORD, gather
from edge_service.policy.mistakes import PolicyRefused
from edge_service.policy.snapshot import Snapshot

FAILED = 1
FOLDER = f"folder of policies, or `{BUILT_IN_WORD}`; default: $ATELIER_POLICIES, else what Atelier brings"


class Dumper(yaml.SafeDumper):
    """Writes every value out where it counts."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        match given.command:
            case "check":
                return check(given.folder, given.json)
            case "show":
                return show(given.name, given.folder, given.json)
            case _:
                return diff(given.old, given.new, given.json)
    except PolicyRefused as refused:
        print(refused, file=sys.stderr)
        return FAILED


def check(folder: str, as_json: bool) -> int:
    """Says every mistake, or the version that the folder would be."""
    gathered, mistakes = gather(folder), []
    try:
        checked(gathered)
    except PolicyRefused as refused:
        mistakes = refused.mistakes
    if as_json:
        _say({"version": gathered.version, "mistakes": [vars(mistake) for mistake in mistakes]})
    elif mistakes:
        print(*mistakes, sep="\n")
        print(f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}; an edge refuses these policies")
    else:
        places = {file.path for file in gathered.files.values()}
        print(*sorted(places), f"version {gathered.version}, no mistakes", sep="\n")
    return FAILED if mistakes else 0


def show(name: str, folder: str, as_json: bool) -> int:
    """Prints what is in force with this folder: every value, defaults included, anchors written out."""
    snapshot = load(folder)
    tables = _plain(snapshot)
    if name and name.removesuffix(".yaml") not in tables:
        print(f"no policy {name}; known: {', '.join(tables)}", file=sys.stderr)
        return FAILED
    shown = {name.removesuffix(".yaml"): tables[name.removesuffix(".yaml")]} if name else tables
    if as_json:
        _say({"version": snapshot.version, "policies": shown})
        return 0
    print(f"# version {snapshot.version}")
    for each, table in shown.items():
        print(f"\n# {each}: {snapshot.files[each].path}")
        print(yaml.dump(table, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000), end="")
    return 0


def diff(old: str, new: str, as_json: bool) -> int:
    """Prints what differs between two folders, by the path of each value."""
    before, after = load(old), load(new)
    found = list(changes(_plain(before), _plain(after)))
    if as_json:
        plain = [{"policy": c.policy, "path": c.path, **_sides(c.old, c.new)} for c in found]
        _say({"old": before.version, "new": after.version, "changes": plain})
        return 0
    for name in dict.fromkeys(change.policy for change in found):
        print(f"{name}.yaml", *(f"  {change}" for change in found if change.policy == name), sep="\n")
    same = before.version == after.version
    print(f"version {before.version}{', the same' if same else f' -> {after.version}'}")
    if not found and not same:
        print("only comments and the way it is written differ")
    return 0


def _sides(old: Any, new: Any) -> dict[str, Any]:
    return {side: value for side, value in (("old", old), ("new", new)) if value is not ABSENT}


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    return {name: snapshot.table(name, schema).model_dump(mode="json") for name, schema in SCHEMAS.items()}


def _say(plain: dict[str, Any]) -> None:
    print(json.dumps(plain, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_service.policies", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    default = os.environ.get("ATELIER_POLICIES", "")
    checking = commands.add_parser("check", help="say every mistake with its file, line and column")
    checking.add_argument("folder", nargs="?", default=default, help=FOLDER)
    showing = commands.add_parser("show", help="print what is in force")
    showing.add_argument("name", nargs="?", default="", help="only this policy, such as tiers")
    showing.add_argument("--folder", default=default, help=FOLDER)
    comparing = commands.add_parser("diff", help="print what differs, by the path of each value")
    comparing.add_argument("old", help=FOLDER.partition(";")[0])
    comparing.add_argument("new", help=FOLDER.partition(";")[0])
    for command in (checking, showing, comparing):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
