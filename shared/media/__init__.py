"""Files that people look at."""
