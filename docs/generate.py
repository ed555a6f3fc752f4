"""Writes docs/reference.md from the code: environment variables, RPCs, error reasons, metrics.

python docs/generate.py             writes docs/reference.md
python docs/generate.py --to FILE   writes elsewhere (the drift test compares)
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))  # so that it runs from a checkout that is not installed

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from prometheus_client import REGISTRY

from atelier.contracts import errors
from atelier.pb.job.v1 import job_pb2
from chat_service.config import ChatConfig
from edge_service.config import EdgeConfig
from protos.generate import describe_into
from sdxl_service.config import SdxlConfig
from shared import telemetry
from shared.config import PREFIX, ServiceConfig
from wan_service.config import WanConfig

SERVICES: dict[str, type[ServiceConfig]] = {
    "edge_service": EdgeConfig,
    "sdxl_service": SdxlConfig,
    "wan_service": WanConfig,
    "chat_service": ChatConfig,
}
# Variable without its prefix -> its default, what it is, and which commands read it.
TOOL = {
    "EDGE": (
        "127.0.0.1:50051",
        "The edge to call, host:port or https://host:port. Before the default comes what `atelier up` left in the data"
        " folder.",
        "every command that calls an edge, `Client`",
    ),
    "EDGE_CA": (
        "", "Authorities that an https edge's certificate may come from, a PEM file. Default: the usual ones.",
        "the same",
    ),
    "TOKEN": ("", "Proof of who calls: token, API key or JWT. Default: the token of the data folder.", "the same"),
    "DATA": ("~/.local/share/atelier", "Folder of addresses, token, embedded database and demo.log.", "all"),
    "CACHE": ("~/.cache/atelier", "Folder of the small models.", "`up`, `demo`, `models`, `doctor`"),
    "ASSETS": ("", "Asset store, as for the edge. Default: user-library in the data folder.", "`up`, `demo`"),
    "DATABASE_URL": ("", "PostgreSQL, as for the edge. Default: embedded.", "`up`, `demo`, `doctor`"),
    "POLICIES": ("", "Folder of policies, as for the edge. Default: built-in.", "`up`, `demo`, `policy`"),
}  # fmt: skip
# Numbers of descriptor.proto, of which the paths in source code info are made.
MESSAGE, ENUM, SERVICE, METHOD, VALUE = 4, 5, 6, 2, 2


def environment() -> Iterator[str]:
    for service, config in SERVICES.items():
        yield f"\n### `python -m {service}`\n"
        yield "| variable | default | what |"
        yield "|---|---|---|"
        for name, field in config.model_fields.items():
            default = "" if field.default_factory or field.is_required() else str(field.default)
            required = "**required**" if field.is_required() else f"`{default}`" if default != "" else ""
            yield f"| `{PREFIX}{name.upper()}` | {required} | {_cell(field.description or '')} |"


def tool_environment() -> Iterator[str]:
    """What `atelier` and the Python client read themselves; a test fails for a variable that is not here."""
    yield "\n### `atelier` and the Python client\n"
    yield "These are no options. `atelier up` and `atelier demo` hand the services every variable of the tables above"
    yield "but those they set themselves: addresses, workers, model, drain time, log format, and what proves edge and"
    yield "workers to each other.\n"
    yield "| variable | default | what | read by |"
    yield "|---|---|---|---|"
    for name, (default, text, readers) in TOOL.items():
        yield f"| `{PREFIX}{name}` | {f'`{default}`' if default else ''} | {_cell(text)} | {readers} |"


def rpcs(files: list[FileDescriptorProto]) -> Iterator[str]:
    for file in files:
        for index, service in enumerate(file.service):
            comments = _comments(file)
            yield f"\n### `{file.package}.{service.name}`\n"
            yield f"{comments[SERVICE, index]}\n"
            yield "| RPC | what |"
            yield "|---|---|"
            for number, method in enumerate(service.method):
                stream = " (stream)" if method.server_streaming else ""
                yield f"| `{method.name}`{stream} | {comments[SERVICE, index, METHOD, number]} |"


def reasons(files: list[FileDescriptorProto]) -> Iterator[str]:
    file = next(file for file in files if file.package == "atelier.job.v1")
    comments = _comments(file)
    index, enum = next((i, enum) for i, enum in enumerate(file.enum_type) if enum.name == "ErrorReason")
    codes = {reason: code.name for code, reason in errors.TABLE.values()}
    yield "| reason | gRPC status | when |"
    yield "|---|---|---|"
    for number, value in enumerate(enum.value[1:], 1):
        word = value.name.removeprefix("ERROR_REASON_")
        text = comments[ENUM, index, VALUE, number].partition(": ")[2]
        yield f"| `{word}` | {codes[job_pb2.ErrorReason.Value(value.name)]} | {_cell(text)} |"


def metrics() -> Iterator[str]:
    assert telemetry.RPCS
    yield "| metric | type | labels | what |"
    yield "|---|---|---|---|"
    for family in REGISTRY.collect():
        if family.name.startswith("atelier_"):
            suffix = "_total" if family.type == "counter" else ""
            collector = REGISTRY._names_to_collectors[family.name]
            labels = ", ".join(collector._labelnames)
            yield f"| `{family.name}{suffix}` | {family.type} | {labels} | {family.documentation} |"


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(location.path): _cell(location.leading_comments) for location in file.source_code_info.location}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def contracts() -> list[FileDescriptorProto]:
    """Our proto files with their comments."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as scratch:
        describe_into(Path(scratch.name))
        files = FileDescriptorSet.FromString(Path(scratch.name).read_bytes()).file
    return [file for file in files if file.package.startswith("atelier.")]


def reference() -> str:
    """The whole page."""
    files = contracts()
    sections = {
        "Environment variables": chain(environment(), tool_environment()),
        "RPCs": rpcs(files),
        "Error reasons": reasons(files),
        "Metrics": metrics(),
    }
    intro = {
        "Environment variables": "Every variable of a service is also an option: `ATELIER_LOG_LEVEL` is `--log-level`,"
        " which wins.",
        "RPCs": "Messages and their rules stand in `protos/`, with a comment on everything.",
        "Error reasons": "The `reason` of `google.rpc.ErrorInfo`, domain `atelier`, in every status that is not OK;"
        " `google.rpc.BadRequest` names fields, `google.rpc.RetryInfo` says when to come back.",
        "Metrics": "Served by the edge at `/metrics` of `ATELIER_HTTP_LISTEN`, in Prometheus' format.",
    }
    lines = ["# Reference", "", "Written by docs/generate.py from the code; `make generate` rewrites it."]
    for title, rows in sections.items():
        lines += ["", f"## {title}", "", intro[title], "", *rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=DOCS / "reference.md", help="the file to write")
    parser.parse_args().to.write_text(reference())
