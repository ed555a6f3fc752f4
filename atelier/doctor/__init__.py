"""Finds what is missing or wrong on this machine, and says how to mend it."""

from atelier.doctor.edge import running_edge
from atelier.doctor.finding import Finding, State
from atelier.doctor.machine import this_machine

__all__ = ["Finding", "State", "running_edge", "this_machine"]
