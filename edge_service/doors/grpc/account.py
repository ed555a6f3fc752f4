"""AccountService: the caller's own account and API keys."""

from atelier.pb.edge.v1 import edge_pb2, edge_pb2_grpc
from edge_service.doors.grpc.callers import Context, principal
from edge_service.use_cases.account import Account
from edge_service.use_cases.api_keys import ManageApiKeys


class AccountServicer(edge_pb2_grpc.AccountServiceServicer):
    """See the contract of AccountService."""

    def __init__(self, account: Account, keys: ManageApiKeys) -> None:
        self._account, self._keys = account, keys

    async def GetAccount(self, request: edge_pb2.GetAccountRequest, context: Context) -> edge_pb2.GetAccountResponse:
        return await self._account.get(principal())

    async def GetWebhookSecret(
        self, request: edge_pb2.GetWebhookSecretRequest, context: Context
    ) -> edge_pb2.GetWebhookSecretResponse:
        return edge_pb2.GetWebhookSecretResponse(secret=await self._account.webhook_secret(principal()))

    async def CreateKey(self, request: edge_pb2.CreateKeyRequest, context: Context) -> edge_pb2.CreateKeyResponse:
        key, secret = await self._keys.create(request, principal())
        return edge_pb2.CreateKeyResponse(key=key, secret=secret)

    async def ListKeys(self, request: edge_pb2.ListKeysRequest, context: Context) -> edge_pb2.ListKeysResponse:
        return edge_pb2.ListKeysResponse(keys=await self._keys.list(request.user_id, principal()))

    async def RevokeKey(self, request: edge_pb2.RevokeKeyRequest, context: Context) -> edge_pb2.RevokeKeyResponse:
        return edge_pb2.RevokeKeyResponse(key=await self._keys.revoke(request.key_id, principal()))
