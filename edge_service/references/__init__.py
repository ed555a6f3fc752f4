"""Reference images: fetched, decoded in a sandbox, stored as uploads."""
