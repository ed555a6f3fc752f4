"""The HTTP port of the edge: assets by signed URL, uploads, metrics."""
