"""Every RPC says what it needs, and whoever lacks it is told what that is."""

import pytest

from atelier.contracts.errors import PermissionDenied
from atelier.pb.edge.v1 import edge_pb2
from edge_service.auth.rpc_scopes import (
    KNOWN,
    ORDINARY,
    PERMISSIONS,
    REQUIREMENTS,
    SCOPES,
    authorise,
    effective,
    permissions_of,
)

METHODS = {
    f"/{service.full_name}/{method.name}"
    for service in edge_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods_by_name.values()
}


def test_every_rpc_says_what_it_needs_and_nothing_else_does():
    assert set(REQUIREMENTS) == METHODS


def test_an_rpc_that_is_not_in_the_table_is_refused():
    with pytest.raises(PermissionDenied, match="all calls of it are refused"):
        authorise("/atelier.edge.v1.JobService/New", "admin", SCOPES, permissions_of)


@pytest.mark.parametrize("method", sorted(method for method, scope in REQUIREMENTS.items() if scope != KNOWN))
def test_whoever_lacks_the_scope_is_told_which(method: str):
    scope = REQUIREMENTS[method]
    authorise(method, "admin", {scope}, permissions_of)
    with pytest.raises(PermissionDenied, match=scope):
        authorise(method, "admin", SCOPES - {scope}, permissions_of)


def test_the_fleet_is_for_tiers_that_may_operate_it():
    for method, scope in REQUIREMENTS.items():
        if scope.startswith("fleet"):
            with pytest.raises(PermissionDenied, match="your tier premium has no permission fleet"):
                authorise(method, "premium", SCOPES, permissions_of)
            authorise(method, "operators", SCOPES, lambda tier: {"operators": ["fleet"]}[tier])


def test_what_a_key_covers_that_names_nothing_operates_nothing():
    assert {"jobs.read", "jobs.write", "chat", "assets.read", "assets.write"} == ORDINARY
    assert effective(SCOPES, ()) == SCOPES - set(PERMISSIONS)
    assert effective(SCOPES, ["keys"]) == SCOPES - {"fleet.read", "fleet.write"}
