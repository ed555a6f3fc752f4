"""The image worker: Stable Diffusion XL behind gRPC."""
