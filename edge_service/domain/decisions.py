"""What was decided about a job and why, collected while it is planned.

with collecting() as decisions:     # the planner, once a request
    decide("config.steps", "", "25", "default of sdxl_image_high")
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from atelier.pb.edge.v1 import edge_pb2

_collected: ContextVar[list[edge_pb2.Decision]] = ContextVar("decisions")


@contextlib.contextmanager
def collecting() -> Iterator[list[edge_pb2.Decision]]:
    """Collects every decision that is taken within the block, in order. A block within it collects its own."""
    decisions: list[edge_pb2.Decision] = []
    token = _collected.set(decisions)
    try:
        yield decisions
    finally:
        _collected.reset(token)


def decide(field: str, before: str, after: str, why: str, notable: bool = False) -> None:
    """Records a decision: `before` is what the request or an earlier decision had, `after` what the plan has.

    `notable` marks what the sender should see at once. Raises LookupError outside of `collecting`.
    """
    _collected.get().append(decision(field, before, after, why, notable))


def decision(field: str, before: str, after: str, why: str, notable: bool = False) -> edge_pb2.Decision:
    """A decision as a message."""
    # The contract calls it `from`, which Python does not take as a name.
    return edge_pb2.Decision(field=field, to=after, why=why, notable=notable, **{"from": before})
