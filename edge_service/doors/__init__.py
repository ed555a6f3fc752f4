"""How a request comes in: authenticate, call one use case, return."""
