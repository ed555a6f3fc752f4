"""Trains the small models on made scenes: `python -m training --help`. Not installed with the package."""
