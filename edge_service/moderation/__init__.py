"""What may be said: the hard refusal, content rules, and the optional classifier."""
