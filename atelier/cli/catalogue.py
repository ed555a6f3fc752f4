"""The catalogue as people read it. Nothing is cut: what is too long for a line goes on in the next."""

import json
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from atelier.contracts.json_form import to_spec_dict
from atelier.pb.edge.v1 import edge_pb2

# What the bounds of a type count, if not its value.
UNITS = {"string": "characters", "list": "items"}
Rows = list[tuple[str, ...]]
INDENT, GAP, MIN_LAST = 2, 2, 30


def drawn(catalog: edge_pb2.GetCatalogResponse) -> str:
    """Job types with their parameters, then everything that is chosen by name, then the models."""
    sections = [(_headline(entry), _parameters(entry)) for entry in catalog.job_types] + list(_named(catalog))
    # A screen that is too narrow for the names and a word beside them must not cut any.
    width = max([Console().width, *(INDENT + _fixed(rows) + MIN_LAST for _, rows in sections)])
    console = Console(color_system=None, highlight=False, width=width)
    with console.capture() as capture:
        for title, rows in sections:
            console.print(escape(title), soft_wrap=True)
            console.print(Padding(_table(rows), (0, 0, 1, INDENT)))
        if catalog.policy_version:
            console.print(f"policies: version {escape(catalog.policy_version)}")
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).rstrip()


def _headline(entry: edge_pb2.JobTypeEntry) -> str:
    facts = [
        "ready" if entry.available else "no worker connected",
        f"{entry.credits} credit{'' if entry.credits == 1 else 's'}",
    ]
    facts += ["enhances its prompt"] if entry.enhanced else []
    facts += [] if entry.permitted else ["not for you"]
    return f"{entry.name} ({', '.join(facts)})"


def _parameters(entry: edge_pb2.JobTypeEntry) -> Rows:
    rows = [(parameter.field, parameter.default, _allowed(parameter)) for parameter in entry.parameters]
    return [("parameter", "default", "allowed"), *rows]


def _named(catalog: edge_pb2.GetCatalogResponse) -> Iterator[tuple[str, Rows]]:
    """Everything that is chosen by name, by what it is; what there is none of is left out."""
    presets: Rows = [(each.name, each.worker_type, each.description) for each in catalog.presets]
    models: Rows = [(each.name, each.real_name, " ".join(each.capabilities)) for each in catalog.models]
    modes = to_spec_dict(catalog).get("content_modes", [])
    sections: dict[str, Rows] = {
        "presets": presets,
        "aspect ratios": list(_ratios(catalog.aspect_ratios)),
        "qualities": _words(catalog.qualities),
        "styles": _words(catalog.styles),
        "content modes": [(" ".join(modes),)] if modes else [],
        "contexts of chat": _words(catalog.chat_contexts),
        "models": models,
    }
    yield from ((title, rows) for title, rows in sections.items() if rows)


def _words(entries: Iterable[edge_pb2.WordsEntry]) -> Rows:
    return [(entry.name, entry.description) for entry in entries]


def _ratios(entries: Iterable[edge_pb2.AspectRatioEntry]) -> Iterator[tuple[str, ...]]:
    sizes: dict[str, list[str]] = {}
    for entry in entries:
        sizes.setdefault(entry.name, []).append(f"{entry.worker_type} {entry.width}x{entry.height}")
    yield from ((name, ", ".join(known)) for name, known in sizes.items())


def _fixed(rows: Rows) -> int:
    """The width of all columns but the last."""
    return sum(max(len(cell) for cell in column) + GAP for column in list(zip(*rows, strict=True))[:-1])


def _table(rows: Rows) -> Table:
    """Columns that are as wide as what is in them; the last takes what is left, and wraps."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
    for index in range(len(rows[0])):
        is_last = index == len(rows[0]) - 1
        table.add_column(no_wrap=not is_last, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _allowed(parameter: edge_pb2.Parameter) -> str:
    is_useless = parameter.HasField("available") and not parameter.available
    facts = [_values(parameter), *_sizes(parameter), "no connected model can use it" if is_useless else ""]
    return ", ".join(filter(None, facts))


def _sizes(parameter: edge_pb2.Parameter) -> Iterator[str]:
    if parameter.min_side and parameter.type == "string":  # a number says it by its bounds
        yield f"sides at least {parameter.min_side}"
    if parameter.multiple_of:
        yield f"multiples of {parameter.multiple_of}"
    if parameter.max_pixels:
        yield f"width x height at most {parameter.max_pixels} pixels"


def _values(parameter: edge_pb2.Parameter) -> str:
    if parameter.choices:
        return " ".join(parameter.choices)
    if parameter.type == "bool":
        return "true false"
    pattern = f"like {json.dumps(parameter.pattern)}" if parameter.pattern else ""
    return ", ".join(filter(None, (f"{_bounds(parameter)} {UNITS.get(parameter.type, '')}".strip(), pattern)))


def _bounds(parameter: edge_pb2.Parameter) -> str:
    least, most = f"{parameter.minimum:.10g}", f"{parameter.maximum:.10g}"
    has_least = parameter.HasField("minimum") or parameter.type.startswith("uint")
    if parameter.HasField("maximum"):
        return f"{least} to {most}" if has_least else f"at most {most}"
    return f"at least {least}" if parameter.HasField("minimum") else ""
