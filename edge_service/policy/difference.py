"""What differs between two versions of the policies: values by their path, not lines of text."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from edge_service.policy.mistakes import Steps, dotted

ABSENT = object()


class Change(NamedTuple):
    """One value that differs; ABSENT stands for none."""

    policy: str
    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if isinstance(self.old, list) and isinstance(self.new, list):
            return f"{self.path}: {_list_change(self.old, self.new)}"
        return f"{self.path}: {_shown(self.old)} -> {_shown(self.new)}"


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Yields what differs between two sets of policies, each given as plain values by the policy's name."""
    for name in sorted({*old, *new}):
        before, after = dict(_leaves(old.get(name, {}), ())), dict(_leaves(new.get(name, {}), ()))
        for steps in dict.fromkeys([*before, *after]):
            was, is_now = before.get(steps, ABSENT), after.get(steps, ABSENT)
            if was != is_now or type(was) is not type(is_now):
                yield Change(name, dotted(steps), was, is_now)


def _leaves(value: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    if isinstance(value, dict) and (value or not steps):
        for key, inner in value.items():
            yield from _leaves(inner, (*steps, key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, (*steps, index))
    else:
        yield steps, value


def _list_change(old: list[Any], new: list[Any]) -> str:
    """Of long lists of words only what came and what went."""
    before, after = Counter(map(_shown, old)), Counter(map(_shown, new))
    went, came = before - after, after - before
    said = [f"-{word}" for word in went.elements()] + [f"+{word}" for word in came.elements()]
    return " ".join(said) or "the same in another order"


def _shown(value: Any) -> str:
    return "(absent)" if value is ABSENT else json.dumps(value, ensure_ascii=False)
