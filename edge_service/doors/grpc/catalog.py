"""What can be asked for."""

from edge_service.accounts.tiers import tiers
from edge_service.domain.job_types import job_types
from edge_service.doors.grpc.callers import Context, principal
from edge_service.fleet import Fleet
from edge_service.planning.chat_contexts import contexts
from edge_service.planning.permissions import account_mode
from edge_service.use_cases.catalog import catalog
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc


class CatalogServicer(edge_pb2_grpc.CatalogServiceServicer):
    """What can be asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def GetCatalog(self, request: edge_pb2.GetCatalogRequest, context: Context) -> edge_pb2.GetCatalogResponse:
        tier = tiers().tiers[principal().tier]
        most = account_mode(tier, principal().content_mode)
        modes = [mode for mode in (edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW) if mode <= most]
        described = {name: context.description for name, context in contexts().contexts.items()}
        return catalog(self._fleet, lambda name: tier.allows_job(name, job_types()[name].worker_type), modes, described)
