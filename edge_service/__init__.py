"""The edge: everything that is decided is decided here."""
