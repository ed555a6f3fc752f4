"""The durable part: jobs in PostgreSQL, leases, the dispatcher, retries, events and webhooks."""
