"""Executes chat requests: a causal language model behind gRPC, its answers streamed as they are made."""
