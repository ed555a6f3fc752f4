"""The image engine, the only room of this service with torch. `engine.py` is the whole; the others are its parts."""

from sdxl_service.engine.engine import DiffusersEngine

__all__ = ["DiffusersEngine"]
