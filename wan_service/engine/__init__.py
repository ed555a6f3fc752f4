"""The video engine: the only folder of this service with torch, which `interface.py` does not import."""
