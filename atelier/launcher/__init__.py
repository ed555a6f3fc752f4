"""The whole stack on one machine: every service as a process of its own, started, watched and stopped together."""
