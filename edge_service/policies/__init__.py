"""The policy files, their registry and their reloading; `python -m edge_service.policies` checks them."""
