"""One YAML file: what it says, and where each part of it stands.

YAML is stricter here than elsewhere: a key that is given twice and a key that is no text are mistakes. Unquoted, `16:9`
is the number 969 and `no` is false; the author means neither.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from edge_service.policy.mistakes import Steps, dotted

# Anchors make large values of small files. A document with more nodes is taken for a mistake.
MAX_NODES = 100_000
# The C library composes nodes by recursion without a limit of its own: a deep file would end the process.
MAX_DEPTH = 50
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Place(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


class Found(NamedTuple):
    """Something wrong at a place."""

    place: Place
    path: str
    problem: str


START = Place(1, 1)


class Document:
    """The content of a YAML file. `found` is what is wrong with it as YAML; then `value` is nothing to go by."""

    def __init__(self, content: bytes) -> None:
        self.value: Any = None
        self._root: yaml.Node | None = None
        self.found: list[Found] = []
        try:
            self._read(content.decode())
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.found.append(Found(Place(line, 1), "", "is not UTF-8"))
        except yaml.YAMLError as error:
            self.found.append(_syntax(error))

    def place(self, steps: Steps) -> Place:
        """Where the value stands; of a mapping or list, its key; of what is missing, that of what lacks it."""
        node, place = self._root, START
        for step in steps:
            key, value = _child(node, step)
            if value is not None:
                node, place = value, _start(key or value)
        return _start(node) if isinstance(node, yaml.ScalarNode) else place

    def _read(self, text: str) -> None:
        _refuse_depth(text)
        loader = Loader(text)
        try:
            self._root = loader.get_single_node()
            if self._root is None:
                return
            _measure(self._root, {})
            self.found += _odd_keys(self._root, (), set())
            self.value = loader.construct_document(self._root)
        finally:
            loader.dispose()


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The key and the value at a step; nothing if there is none. Of several the last: that is the one that counts."""
    if isinstance(node, yaml.MappingNode):
        fitting = [(key, value) for key, value in node.value if key.value == step]
        return fitting[-1] if fitting else (None, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None, None


def _start(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _syntax(error: yaml.YAMLError) -> Found:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = Place(mark.line + 1, mark.column + 1) if mark else START
    context = getattr(error, "context", None)
    text = ", ".join(filter(None, (context, problem))) or "has a character that YAML does not allow"
    return Found(place, "", f"is not valid YAML: {text}")


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} deep"
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _measure(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many nodes this one has, those of anchors counted at each use. Raises YAMLError for too many, or a circle."""
    if id(node) in sizes:
        return sizes[id(node)]
    sizes[id(node)] = MAX_NODES  # what it counts as inside itself
    size = 1 + sum(_measure(child, sizes) for child in _children(node))
    if size > MAX_NODES:
        problem = f"anchors make more than {MAX_NODES} values of it, or a value is part of itself"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    sizes[id(node)] = size
    return size


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _odd_keys(node: yaml.Node, steps: Steps, seen: set[int]) -> Iterator[Found]:
    """Keys that are given twice or are no text, each anchor looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield from _odd_pairs(node, steps)
        for key, value in node.value:
            yield from _odd_keys(value, (*steps, str(key.value)), seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _odd_keys(item, (*steps, index), seen)


def _odd_pairs(node: yaml.MappingNode, steps: Steps) -> Iterator[Found]:
    first: dict[str, Place] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (TEXT, MERGE):
            yield Found(_start(key), dotted(steps), f"a key must be text{_quoted(key)}")
            key.tag = TEXT  # as it was meant, so that the schema does not complain of the same again
        elif key.value in first:
            path = dotted((*steps, key.value))
            yield Found(_start(key), path, f"is given twice, first in line {first[key.value].line}")
        else:
            first[key.value] = _start(key)


def _quoted(key: yaml.Node) -> str:
    if not isinstance(key, yaml.ScalarNode):
        return ""
    return f': write "{key.value}", for YAML takes {key.value} without quotes for a number, a date or a truth value'
