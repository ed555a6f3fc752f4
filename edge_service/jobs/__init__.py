"""The durable part: jobs, attempts, events and assets in PostgreSQL, and handing them to workers."""
