"""The video worker: Wan behind gRPC."""
