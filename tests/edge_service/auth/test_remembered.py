"""What is remembered is bounded in number and in time."""

from edge_service.auth.remembered import Remembered
from tests.edge_service.auth.conftest import Clock


def test_the_longest_unused_goes_first(clock: Clock):
    found: Remembered[int] = Remembered(2, clock)
    for key in ("a", "b"):
        found.put(key, 1, clock.now + 1)
    assert found.get("a")
    found.put("c", 1, clock.now + 1)
    assert (found.get("a"), found.get("b"), found.get("c"), len(found)) == (1, None, 1, 2)


def test_nothing_is_remembered_beyond_its_time(clock: Clock):
    found: Remembered[int] = Remembered(2, clock)
    found.put("a", 1, clock.now + 5)
    clock.now += 4.9
    assert found.get("a") == 1
    clock.now += 0.1
    assert found.get("a") is None
    assert len(found) == 0


def test_what_is_put_again_takes_no_second_place(clock: Clock):
    found: Remembered[int] = Remembered(2, clock)
    found.put("b", 1, clock.now + 5)
    for number in range(5):
        found.put("a", number, clock.now + 5)
    assert (found.get("a"), found.get("b")) == (4, 1)
    found.forget("a")
    assert found.get("a") is None
