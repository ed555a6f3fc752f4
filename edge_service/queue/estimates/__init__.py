"""What jobs will probably take, learned from those that ended, and when each will start and end."""
