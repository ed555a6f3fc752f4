"""What the protos mean beyond their fields, for clients and services alike. Pure: no torch, no server, no database."""
