"""The workers, for operators."""

from edge_service.doors.grpc.callers import Context
from edge_service.fleet import Fleet
from shared import errors
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc


class FleetServicer(edge_pb2_grpc.FleetServiceServicer):
    """The workers, for operators."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def ListWorkers(self, request: edge_pb2.ListWorkersRequest, context: Context) -> edge_pb2.ListWorkersResponse:
        return edge_pb2.ListWorkersResponse(workers=[worker.message() for worker in self._fleet.workers])

    async def LoadModel(self, request: edge_pb2.LoadModelRequest, context: Context) -> edge_pb2.LoadModelResponse:
        raise errors.NotImplementedYet("LoadModel: a worker loads its models at start; changing them is not built yet")

    async def UnloadModel(self, request: edge_pb2.UnloadModelRequest, context: Context) -> edge_pb2.UnloadModelResponse:
        raise errors.NotImplementedYet("UnloadModel: a worker keeps its models until it stops; this is not built yet")

    async def DrainWorker(self, request: edge_pb2.DrainWorkerRequest, context: Context) -> edge_pb2.DrainWorkerResponse:
        raise errors.NotImplementedYet("DrainWorker: is not built yet; send the worker SIGTERM")
