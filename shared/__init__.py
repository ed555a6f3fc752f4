"""Mechanism that more than one service needs. Nothing here knows a service."""
