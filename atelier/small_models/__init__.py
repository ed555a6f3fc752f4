"""Small models for machines without a GPU: real pipelines, made or fetched once and then reused.

`ensure` is the whole interface. It imports no torch while every model asked for is already in the cache.
"""

from atelier.small_models.cache import SmallModelError, cache_root, ensure

__all__ = ["SmallModelError", "cache_root", "ensure"]
