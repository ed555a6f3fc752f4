"""ChatService: interactive turns."""

from collections.abc import AsyncGenerator

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.doors.grpc.callers import Context, principal
from edge_service.use_cases.chat_turn import ChatTurn


class ChatServicer(edge_pb2_grpc.ChatServiceServicer):
    """See the contract of ChatService."""

    def __init__(self, turn: ChatTurn) -> None:
        self._turn = turn

    def Chat(self, request: edge_pb2.ChatRequest, context: Context) -> AsyncGenerator[edge_pb2.ChatResponse, None]:
        return self._turn(request, principal())
