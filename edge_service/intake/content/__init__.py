"""What may be said: first the refusal that nobody can switch off, then the rules of a content mode."""
