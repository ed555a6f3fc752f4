"""From a request to a Plan. The order of the steps stands in planner.py, once."""
