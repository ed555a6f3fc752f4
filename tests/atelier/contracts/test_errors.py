"""The error tree, its table, and the way of an error through a gRPC status and back."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

from atelier.contracts import errors
from atelier.contracts.errors import AtelierError, InvalidRequest, NoFreeSlot, Violation
from atelier.pb.job.v1 import job_pb2


def subclasses(kind: type[AtelierError]) -> set[type[AtelierError]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_class_of_the_tree_is_in_the_table() -> None:
    assert subclasses(AtelierError) - {AtelierError} == set(errors.TABLE)


def test_every_reason_has_exactly_one_class() -> None:
    used = sorted(reason for _, reason in errors.TABLE.values())
    assert used == [value for value in job_pb2.ErrorReason.values() if value != 0]


def test_the_comment_of_every_reason_begins_with_its_status_code(repository: Path) -> None:
    lines = (repository / "protos/atelier/job/v1/job.proto").read_text().splitlines()
    commented: dict[str, str] = {}
    for line, following in itertools.pairwise(lines):
        if line.startswith("  // ") and following.strip().startswith("ERROR_REASON_"):
            commented[following.split()[0]] = line.removeprefix("  // ").split(":")[0]
    table = {job_pb2.ErrorReason.Name(reason): code.name for code, reason in errors.TABLE.values()}
    assert {name: code for name, code in commented.items() if name in table} == table


def test_the_drawing_of_the_tree_names_every_class() -> None:
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in errors.TABLE if f"── {kind.__name__}" not in drawn] == []


def make(kind: type[AtelierError]) -> AtelierError:
    if issubclass(kind, InvalidRequest):
        return kind(Violation("config.steps", "must be 10 to 50, got 7"), Violation("prompt", "is empty"))
    return kind("the reason")


def detail(status: status_pb2.Status, kind: Any) -> list[Any]:
    return [kind.FromString(packed.value) for packed in status.details if packed.Is(kind.DESCRIPTOR)]


@pytest.mark.parametrize("kind", errors.TABLE, ids=lambda kind: kind.__name__)
def test_every_status_carries_its_reason_and_the_domain(kind: type[AtelierError]) -> None:
    error = make(kind)
    status = errors.to_status(error)
    [info] = detail(status, details_pb2.ErrorInfo)
    assert info.domain == "atelier"
    assert f"ERROR_REASON_{info.reason}" == job_pb2.ErrorReason.Name(errors.TABLE[kind][1])
    assert status.code == errors.code(error).value[0]
    assert status.message == error.message


def test_violations_are_named_in_a_bad_request() -> None:
    [bad] = detail(errors.to_status(make(InvalidRequest)), details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("config.steps", "must be 10 to 50, got 7"),
        ("prompt", "is empty"),
    ]


def test_no_free_slot_says_when_to_come_back() -> None:
    [info] = detail(errors.to_status(NoFreeSlot("full", retry_after_seconds=2.5)), details_pb2.RetryInfo)
    assert info.retry_delay.ToTimedelta().total_seconds() == 2.5


def test_more_violations_than_are_shown_are_counted() -> None:
    many = InvalidRequest(*(Violation(f"messages[{i}].role", "must be known") for i in range(200)))
    [bad] = detail(errors.to_status(many), details_pb2.BadRequest)
    assert len(bad.field_violations) == errors.MAX_VIOLATIONS + 1
    assert bad.field_violations[-1].description == "and 150 more"


def test_a_job_error_never_breaks_the_rules_of_its_message() -> None:
    assert len(errors.to_job_error(errors.Internal("x" * 5000)).message) <= 2000
