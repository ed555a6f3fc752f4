"""What is cached is bounded in number and in time."""

from edge_service.auth.ttl_cache import Expiring, TtlCache
from tests.kit.issuer import Clock


def test_the_least_recently_used_goes_first(clock: Clock):
    cache: TtlCache[int] = TtlCache(2, clock)
    for key in ("a", "b"):
        cache[key] = Expiring(1, clock.now + 1)
    assert cache.get("a")
    cache["c"] = Expiring(1, clock.now + 1)
    assert ("a" in cache, "b" in cache, "c" in cache, len(cache)) == (True, False, True, 2)


def test_an_entry_expires_at_its_own_time(clock: Clock):
    cache: TtlCache[int] = TtlCache(2, clock)
    cache["a"] = Expiring(1, clock.now + 5)
    cache["b"] = Expiring(1, clock.now + 50)
    clock.now += 4.9
    assert cache.get("a") == Expiring(1, cache["a"].until)
    clock.now += 0.1
    assert cache.get("a") is None
    assert cache.get("b") is not None


def test_an_entry_that_is_set_again_takes_no_second_place(clock: Clock):
    cache: TtlCache[int] = TtlCache(2, clock)
    cache["b"] = Expiring(1, clock.now + 5)
    for number in range(5):
        cache["a"] = Expiring(number, clock.now + 5)
    assert (cache["a"].value, cache["b"].value) == (4, 1)


def test_an_entry_that_has_expired_already_is_not_kept(clock: Clock):
    cache: TtlCache[int] = TtlCache(2, clock)
    cache["a"] = Expiring(1, clock.now - 1)
    assert cache.get("a") is None
