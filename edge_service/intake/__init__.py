"""From what a client asks to what a worker executes: one file per decision. `plan.py` runs them in order."""
