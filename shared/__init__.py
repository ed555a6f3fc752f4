"""Mechanism that more than one service needs. Nothing here knows a service."""

import os

# Before grpc is first used. Its handlers for fork() run in every child between fork and exec, where they abort one in
# ten while calls are in flight: an encoder that "ends without a word". Nothing of ours uses gRPC in a forked child.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
