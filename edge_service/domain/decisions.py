"""What was decided about a job, each with where it came from."""

from shared.pb.atelier.edge.v1 import edge_pb2


def decision(field: str, before: str, after: str, why: str, notable: bool = False) -> edge_pb2.Decision:
    """One decision: `before` is what the request had or an earlier decision made of it, `after` what the plan has.

    `notable` is what the sender should know at once.
    """
    # The contract calls it `from`, which Python does not take as a name.
    return edge_pb2.Decision(field=field, to=after, why=why, notable=notable, **{"from": before})
