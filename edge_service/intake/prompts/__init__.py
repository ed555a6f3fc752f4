"""What a model reads: better prompts, conversations, and how much of them fits."""
