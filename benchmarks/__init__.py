"""Measurements, each against a baseline in the same run. Only ratios mean something: machines are noisy."""
