"""Tables (migrations/) and functions (functions/) of the database."""
