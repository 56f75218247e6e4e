"""When garbage is collected: around a start, and where mods are frozen."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from devserver.live import garbage


class Ring:
    """Something that only a collection ends."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not started a network."""
    thresholds = gc.get_threshold()
    monkeypatch.setattr(garbage, "_policy", garbage._Policy())
    yield
    gc.set_threshold(*thresholds)
    gc.freeze()


def test_thresholds_are_as_before_once_a_network_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile they are higher. A process with so many objects that a collection is felt is another case."""
    monkeypatch.setattr(garbage, "BOUNDED", float("inf"))
    before = gc.get_threshold()
    garbage.begin_start()
    assert gc.get_threshold()[0] > before[0]
    garbage.end_start()
    assert gc.get_threshold() == before


def test_thresholds_that_a_mod_has_set_meanwhile_stay() -> None:
    """They are its own."""
    garbage.begin_start()
    gc.set_threshold(1234, 5, 6)
    garbage.end_start()
    assert gc.get_threshold() == (1234, 5, 6)


def test_what_only_holds_itself_is_collected_though_its_network_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collection of the census looks at everything, and freezes it again; an ordinary one looks at little."""
    monkeypatch.setattr(garbage, "BOUNDED", 0.0)
    ring = Ring()
    seen = weakref.ref(ring)
    garbage.end_start()
    del ring
    gc.collect()
    assert seen() is not None
    garbage.collect()
    assert seen() is None
    assert gc.get_freeze_count() > len(gc.get_objects())
    assert garbage.expected_cost() >= gc.get_freeze_count() * garbage._PER_BLOCK


def test_a_small_network_is_not_frozen() -> None:
    """A collection of it is not felt, and code that was replaced is to go at once."""
    garbage.freeze_own()
    before = gc.get_freeze_count()
    garbage.end_start()
    assert gc.get_freeze_count() == before


def test_an_estimate_disturbs_no_thread_that_makes_a_tuple() -> None:
    """A list of all objects would hold the tuple that grows, which then cannot."""
    made: list[int] = []

    def work() -> None:
        for _ in range(20_000):
            made.append(len(tuple(each for each in range(15))))

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        garbage.expected_cost()
        garbage.settle()
    assert len(made) == 20_000


def test_what_came_in_the_first_minute_is_frozen_where_it_would_be_felt(monkeypatch: pytest.MonkeyPatch) -> None:
    """And full collections come seldom then; a threshold that a mod has set is its own."""
    gc.set_threshold(700, 10, garbage._USUAL_THIRD)
    garbage.settle()
    monkeypatch.setattr(garbage, "BOUNDED", 0.0)
    agents = [Ring() for _ in range(100)]
    before = gc.get_freeze_count()
    garbage.settle()
    assert gc.get_freeze_count() >= before + len(agents)
    assert gc.get_threshold() == (700, 10, 50)
    gc.set_threshold(700, 10, 7)
    garbage.settle()
    assert gc.get_threshold() == (700, 10, 7)
