"""Plans as the edge makes them where no worker is connected: nothing is waited for, so no event loop is needed."""

from functools import cache

from edge_service.addresses import INTERNET, Addresses
from edge_service.audit import Audit
from edge_service.auth import Principal
from edge_service.fleet import Fleet
from edge_service.intake.pictures.references import References
from edge_service.intake.plan import Intake, Plan
from edge_service.jobs.database import Database
from edge_service.jobs.uploads import Uploads
from edge_service.outgoing import Outgoing
from shared.assets import AssetStore
from shared.pb.atelier.edge.v1 import edge_pb2


def intake(addresses: Addresses = INTERNET, fleet: Fleet | None = None) -> Intake:
    """An intake whose database is never opened."""
    database = Database()
    uploads = Uploads(database, AssetStore("memory:///user-library"))
    references = References(uploads, _outgoing(), addresses)
    return Intake(fleet or Fleet([]), addresses, references, Audit(database))


@cache
def _outgoing() -> Outgoing:
    return Outgoing(INTERNET)  # reads the certificates of all authorities: once is enough


def planned(request: edge_pb2.SubmitJobRequest, tier: str = "admin", addresses: Addresses = INTERNET) -> Plan:
    """The plan of a submitted job of somebody of this tier."""
    planning = intake(addresses).job(request, Principal("ann", tier))
    try:
        planning.send(None)
    except StopIteration as done:
        plan: Plan = done.value
        return plan
    raise AssertionError("planning waits for something")
