"""Callbacks, from the outbox to their receivers: signed, in order, again and again until taken or given up."""
