"""FleetService: the workers, for operators."""

from atelier.contracts import errors
from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.doors.grpc.callers import Context
from edge_service.use_cases.workers import Workers


class FleetServicer(edge_pb2_grpc.FleetServiceServicer):
    """See the contract of FleetService."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def ListWorkers(self, request: edge_pb2.ListWorkersRequest, context: Context) -> edge_pb2.ListWorkersResponse:
        return edge_pb2.ListWorkersResponse(workers=self._workers.list())

    async def LoadModel(self, request: edge_pb2.LoadModelRequest, context: Context) -> edge_pb2.LoadModelResponse:
        raise errors.NotImplementedYet("LoadModel: a worker loads its models at start; changing them is not built yet")

    async def UnloadModel(self, request: edge_pb2.UnloadModelRequest, context: Context) -> edge_pb2.UnloadModelResponse:
        raise errors.NotImplementedYet("UnloadModel: a worker keeps its models until it stops; this is not built yet")

    async def DrainWorker(self, request: edge_pb2.DrainWorkerRequest, context: Context) -> edge_pb2.DrainWorkerResponse:
        raise errors.NotImplementedYet("DrainWorker: is not built yet; send the worker SIGTERM")
