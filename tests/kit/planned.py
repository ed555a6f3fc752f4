"""Plans as the edge makes them where no worker is connected: nothing is waited for, so no event loop is needed."""

from functools import cache

from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.audit import Audit
from edge_service.adapters.database import Database
from edge_service.adapters.http_client import GuardedHttpClient
from edge_service.adapters.url_guard import INTERNET, UrlGuard
from edge_service.domain.plan import Plan
from edge_service.domain.principal import Principal
from edge_service.fleet import Fleet
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.moderation.moderator import Moderation
from edge_service.planning.enhancement import Enhancer
from edge_service.planning.enhancement_templates import enhancement
from edge_service.planning.planner import Planner
from edge_service.references.resolve import References
from edge_service.references.uploads import Uploads
from shared.assets import AssetStore


def planner(url_guard: UrlGuard = INTERNET, fleet: Fleet | None = None) -> Planner:
    """A planner whose database is never opened."""
    database, fleet = Database(), fleet or Fleet([])
    uploads = Uploads(database, AssetStore("memory:///user-library"))
    references = References(uploads, _http_client(), url_guard)
    chat = ChatWorkers(fleet, enhancement)
    return Planner(fleet, Moderation(Audit(database), chat), references, Enhancer(fleet, chat), url_guard.check)


@cache
def _http_client() -> GuardedHttpClient:
    return GuardedHttpClient(INTERNET)  # reads the certificates of all authorities: once is enough


def planned(request: edge_pb2.SubmitJobRequest, tier: str = "admin", url_guard: UrlGuard = INTERNET) -> Plan:
    """The plan of a job that a caller of this tier submits."""
    planning = planner(url_guard).job(request, Principal("ann", tier))
    try:
        planning.send(None)
    except StopIteration as done:
        plan: Plan = done.value
        return plan
    raise AssertionError("planning waits for something")
