"""What everything above speaks: plans, principals, decisions, job types. Imports no room above it."""
