"""Writes the Python stubs of every contract to `atelier/pb/`.

    python protos/generate.py                       writes atelier/pb/
    python protos/generate.py --into DIR            writes elsewhere (the drift test compares)
    python protos/generate.py --descriptors FILE    writes the descriptors that buf reads

protovalidate ships neither validate.proto nor its google.protobuf stub, only a descriptor inside its wheel. It is
written into a descriptor set and handed to protoc, so no third-party text is vendored here.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from protovalidate._gen.buf.validate.validate_pb import _DESC as VALIDATE

PROTOS = Path(__file__).parent
STUBS = PROTOS.parent / "atelier" / "pb"
IMPORT = re.compile(r"^(from|import) (?:atelier\.|(?=buf\.))", re.MULTILINE)


def third_party_descriptors() -> FileDescriptorSet:
    """Descriptors of validate.proto and of the well-known types it imports."""
    known = (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2)
    protos = [FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in known]
    return FileDescriptorSet(file=[*protos, FileDescriptorProto.FromString(VALIDATE.proto.to_binary())])


def run_protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit("protoc refused the protos; its message is above")


def contracts() -> list[str]:
    """Paths of our protos, as protoc names them."""
    return sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))


@contextmanager
def protoc_sources() -> Iterator[list[str]]:
    """The arguments that tell protoc where every import is."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as known:
        Path(known.name).write_bytes(third_party_descriptors().SerializeToString())
        yield [f"-I{PROTOS}", f"--descriptor_set_in={known.name}"]


def compile_into(folder: Path) -> None:
    """Writes the stubs of every contract and of validate.proto to `folder`; their imports start at atelier.pb."""
    folder.mkdir(parents=True, exist_ok=True)
    with protoc_sources() as sources:
        messages = [f"--python_out={folder}", f"--pyi_out={folder}"]
        run_protoc(*sources, *messages, "buf/validate/validate.proto")
        run_protoc(*sources, *messages, f"--grpc_python_out={folder}", *contracts())
    shutil.copytree(folder / "atelier", folder, dirs_exist_ok=True)  # atelier.pb.sdxl, not atelier.pb.atelier.sdxl
    shutil.rmtree(folder / "atelier")
    for stub in [*folder.rglob("*.py"), *folder.rglob("*.pyi")]:
        stub.write_text(IMPORT.sub(r"\1 atelier.pb.", stub.read_text()))
    for directory in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (directory / "__init__.py").write_text('"""Written by protos/generate.py; do not edit."""\n')


def describe_into(file: Path) -> None:
    """Writes every contract with its comments as one descriptor set, which is what `buf lint` reads."""
    with protoc_sources() as sources:
        run_protoc(*sources, "--include_imports", "--include_source_info", f"--descriptor_set_out={file}", *contracts())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=STUBS, help="where the stubs go; default: atelier/pb")
    parser.add_argument("--descriptors", type=Path, help="write the descriptor set here instead of stubs")
    options = parser.parse_args()
    if options.descriptors:
        describe_into(options.descriptors)
    else:
        shutil.rmtree(options.into, ignore_errors=True)
        compile_into(options.into)


if __name__ == "__main__":
    main()
