"""Sending what no client should: raw bytes to any RPC, every broken field of a good message, and what came back."""

import random
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2

from atelier.contracts.errors import status_of
from atelier.contracts.validation import ValidationConfig, rules
from tests.kit.bounds import edges, put

MEGABYTE = 2**20
FAR = {"double": [-1e9, 1e9], "uint32": [2**32 - 1]}
# Codes that a mistake of ours would show as; they must never come out of bad input.
OURS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}


async def call(
    channel: grpc.aio.Channel, method: MethodDescriptor, body: bytes, token: str = "token-of-the-operator"
) -> None:
    """Sends raw bytes to one RPC and reads its answer to the end."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = (("authorization", f"Bearer {token}"),)
    if method.server_streaming:
        async for _ in channel.unary_stream(path)(body, metadata=metadata, timeout=20):
            pass
    else:
        await channel.unary_unary(path)(body, metadata=metadata, timeout=20)


async def refused(channel: grpc.aio.Channel, method: MethodDescriptor, body: bytes) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call(channel, method, body)
    return failure.value


def violations(error: grpc.aio.AioRpcError) -> dict[str, str]:
    found = {}
    for detail in status_of(error).details:
        if detail.Is(details_pb2.BadRequest.DESCRIPTOR):
            request = details_pb2.BadRequest.FromString(detail.value)
            found |= {violation.field: violation.description for violation in request.field_violations}
    return found


def reason(error: grpc.aio.AioRpcError) -> str:
    for detail in status_of(error).details:
        if detail.Is(details_pb2.ErrorInfo.DESCRIPTOR):
            return details_pb2.ErrorInfo.FromString(detail.value).reason
    return ""


def text_fields(method: MethodDescriptor) -> Iterator[FieldDescriptor]:
    return (field for field in method.input_type.fields if field.type == FieldDescriptor.TYPE_STRING)


def broken(message: Message) -> Iterator[tuple[str, Message]]:
    """Copies of a good message with one field spoilt in each, by a hair and by far: its path and the whole copy."""
    for rule in rules(message.DESCRIPTOR):
        held = attrgetter(rule.field)(message)
        for path, spoilt in _spoilt_list(rule, held) if rule.type == "list" else _spoilt(rule):
            copy = type(message)()
            copy.CopyFrom(message)
            put(copy, rule.field, spoilt)
            yield path, copy


def _spoilt(rule: ValidationConfig) -> Iterator[tuple[str, object]]:
    yield from ((rule.field, value) for side, value in edges(rule) if side == "outside")
    if rule.type == "string":
        yield rule.field, "x" * MEGABYTE
    elif rule.maximum is not None or rule.choices:
        yield from ((rule.field, far) for far in FAR.get(rule.type, ()))


def _spoilt_list(rule: ValidationConfig, held: Sequence[Any]) -> Iterator[tuple[str, object]]:
    assert rule.maximum is not None
    yield rule.field, [held[0]] * (int(rule.maximum) + 1)
    if rule.minimum:
        yield rule.field, []
    if isinstance(held[0], Message):
        for path, item in broken(held[0]):
            yield f"{rule.field}[0].{path}", [item, *held[1:]]


def mangled(body: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Random damage to a good message: bytes changed, cut out, doubled or put in."""
    luck = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(body)
        for _ in range(luck.randint(1, 6)):
            at = luck.randrange(len(damaged) + 1)
            match luck.randrange(4):
                case 0:
                    damaged[at : at + 1] = luck.randbytes(1)
                case 1:
                    del damaged[at : at + luck.randint(1, 4)]
                case 2:
                    damaged[at:at] = damaged[at : at + luck.randint(1, 8)]
                case _:
                    damaged[at:at] = luck.randbytes(luck.randint(1, 4))
        yield bytes(damaged)


async def outcome(channel: grpc.aio.Channel, method: MethodDescriptor, body: bytes) -> grpc.aio.AioRpcError | None:
    """The error that a call ended with; None if it was answered."""
    try:
        await call(channel, method, body)
    except grpc.aio.AioRpcError as error:
        return error
    return None
