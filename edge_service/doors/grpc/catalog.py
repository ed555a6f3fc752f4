"""CatalogService: what can be asked for."""

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.doors.grpc.callers import Context, principal
from edge_service.use_cases.catalog import Catalog


class CatalogServicer(edge_pb2_grpc.CatalogServiceServicer):
    """See the contract of CatalogService."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def GetCatalog(self, request: edge_pb2.GetCatalogRequest, context: Context) -> edge_pb2.GetCatalogResponse:
        return self._catalog.get(principal())
