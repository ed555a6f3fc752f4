"""What a caller can do, one file each. Knows neither gRPC nor HTTP."""
