"""What happens to jobs, told to whoever watches them: the event log, and places in the queue."""
