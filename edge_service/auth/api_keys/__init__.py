"""API keys: their format, their table, and their verification."""
