"""What every RPC of the edge needs, as one table, and which permission of a tier stands behind a scope.

A scope is what a token or key covers; a permission is what a tier may. An RPC needs its scope, and the scope needs its
permission, where it has one.
"""

from collections.abc import Callable, Collection

from atelier.contracts.errors import PermissionDenied
from edge_service.accounts.tiers import tiers
from edge_service.domain.job_types import job_types
from edge_service.domain.principal import SCOPES

# Enough for everyone who is known.
KNOWN = ""
REQUIREMENTS = {
    "/atelier.edge.v1.JobService/SubmitJob": "jobs.write",
    "/atelier.edge.v1.JobService/GetJob": "jobs.read",
    "/atelier.edge.v1.JobService/ListJobs": "jobs.read",
    "/atelier.edge.v1.JobService/WatchJob": "jobs.read",
    "/atelier.edge.v1.JobService/CancelJob": "jobs.write",
    "/atelier.edge.v1.JobService/RetryJob": "jobs.write",
    "/atelier.edge.v1.ChatService/Chat": "chat",
    "/atelier.edge.v1.AssetService/GetAsset": "assets.read",
    "/atelier.edge.v1.AssetService/ListAssets": "assets.read",
    "/atelier.edge.v1.AssetService/DownloadAsset": "assets.read",
    "/atelier.edge.v1.AssetService/CreateUpload": "assets.write",
    "/atelier.edge.v1.AssetService/DeleteAsset": "assets.write",
    "/atelier.edge.v1.CatalogService/GetCatalog": KNOWN,
    "/atelier.edge.v1.AccountService/GetAccount": "account",
    "/atelier.edge.v1.AccountService/GetWebhookSecret": "account",
    "/atelier.edge.v1.AccountService/CreateKey": "account",
    "/atelier.edge.v1.AccountService/ListKeys": "account",
    "/atelier.edge.v1.AccountService/RevokeKey": "account",
    "/atelier.edge.v1.FleetService/ListWorkers": "fleet.read",
    "/atelier.edge.v1.FleetService/LoadModel": "fleet.write",
    "/atelier.edge.v1.FleetService/UnloadModel": "fleet.write",
    "/atelier.edge.v1.FleetService/DrainWorker": "fleet.write",
}
# Besides those of the table: to make, list and revoke the keys of others.
KEYS = "keys"
PERMISSIONS = {"fleet.read": "fleet", "fleet.write": "fleet", KEYS: "keys"}
# What a key or token covers that names nothing: the daily work, but neither the account nor what operators do.
ORDINARY = SCOPES - set(PERMISSIONS) - {"account"}

# Name of a tier -> its permissions.
PermissionsOf = Callable[[str], Collection[str]]


def tier_names() -> Collection[str]:
    """The tiers of the policy in force."""
    return tiers().tiers


def permissions_of(tier: str) -> Collection[str]:
    """The permissions of a tier of the policy in force, each by its name; none for a tier that no longer exists."""
    known = tiers().tiers.get(tier)
    return known.granted(job_types()) if known else ()


def effective(scopes: Collection[str], permissions: Collection[str]) -> frozenset[str]:
    """Those of `scopes` that a tier with these permissions may use."""
    return frozenset(scope for scope in scopes if scope not in PERMISSIONS or PERMISSIONS[scope] in permissions)


def authorise(method: str, tier: str, scopes: Collection[str], permissions: PermissionsOf) -> None:
    """Raises PermissionDenied, naming what is missing. An RPC that is not in the table is refused to all."""
    wanted = REQUIREMENTS.get(method)
    if wanted is None:
        raise PermissionDenied(f"{method} is not in the table of scopes, so all calls of it are refused")
    if wanted == KNOWN:
        return
    if wanted not in scopes:
        raise PermissionDenied(f"this needs the scope {wanted}, which your token does not cover")
    needed = PERMISSIONS.get(wanted)
    if needed and needed not in permissions(tier):
        raise PermissionDenied(f"this needs the scope {wanted}, which your tier {tier} has no permission {needed} for")
