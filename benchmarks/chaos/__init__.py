"""Proves that no job is lost, doubled or stuck: real processes and faults, a history checked against the store."""

# Before grpc: it turns off fork handlers that abort a child now and then.
import shared  # noqa: F401
