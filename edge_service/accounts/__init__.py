"""Tiers and quotas: what an account may use, what it has used, and the audit log."""
