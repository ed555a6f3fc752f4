"""What the edge uses of the world outside: PostgreSQL, notifications, HTTP, signed URLs."""
