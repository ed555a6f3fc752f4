"""The caller's own account and keys."""

import secrets

from edge_service.accounts.audit import Audit, Entry
from edge_service.accounts.tiers import tiers
from edge_service.doors.grpc.callers import Context, owner, principal
from edge_service.queue.store import Store
from edge_service.queue.webhooks.payload import HOUSE_SECRET, secret_of
from edge_service.use_cases.account import account
from edge_service.use_cases.api_keys import KeyOrders, message
from shared.pb.atelier.edge.v1 import edge_pb2, edge_pb2_grpc


class AccountServicer(edge_pb2_grpc.AccountServiceServicer):
    """The caller's own account."""

    def __init__(self, store: Store, keys: KeyOrders, audit: Audit) -> None:
        self._store, self._keys, self._audit = store, keys, audit

    async def GetAccount(self, request: edge_pb2.GetAccountRequest, context: Context) -> edge_pb2.GetAccountResponse:
        caller, tier = principal(), tiers().tiers[principal().tier]
        return account(caller, tier, await self._store.accounts.usage(caller.user_id, tier.quotas))

    async def GetWebhookSecret(
        self, request: edge_pb2.GetWebhookSecretRequest, context: Context
    ) -> edge_pb2.GetWebhookSecretResponse:
        house = await self._store.secret(HOUSE_SECRET, fresh=secrets.token_bytes(32))
        return edge_pb2.GetWebhookSecretResponse(secret=secret_of(house, owner()))

    async def CreateKey(self, request: edge_pb2.CreateKeyRequest, context: Context) -> edge_pb2.CreateKeyResponse:
        key, secret = await self._keys.create(request, principal())
        await self._audit.record(Entry(owner(), "key.created", key.id))
        return edge_pb2.CreateKeyResponse(key=message(key), secret=secret)

    async def ListKeys(self, request: edge_pb2.ListKeysRequest, context: Context) -> edge_pb2.ListKeysResponse:
        keys = await self._keys.of(request.user_id, principal())
        return edge_pb2.ListKeysResponse(keys=[message(key) for key in keys])

    async def RevokeKey(self, request: edge_pb2.RevokeKeyRequest, context: Context) -> edge_pb2.RevokeKeyResponse:
        key = await self._keys.revoke(request.key_id, principal())
        await self._audit.record(Entry(owner(), "key.revoked", key.id))
        return edge_pb2.RevokeKeyResponse(key=message(key))
