"""What watchers of a job are sent: its event log, and its position in the queue."""
