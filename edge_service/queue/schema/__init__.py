"""Tables (migrations/) and functions (functions/) of the database.

The functions are the rules that keep jobs from being lost, doubled or stuck. Each change of a job is one statement, a
call of a function: no client ever holds a lock between two round trips, so a frozen edge replica delays no other.

Locks are taken in the order: owner (advisory, 1), clock, owner whose jobs are leased (advisory, 3), share, job, and
last storage and usage, whose rows are never held while waiting for any of the others. A job's row is locked by every
change of its state or its events.
"""
