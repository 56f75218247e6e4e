"""When garbage is collected: seldom while a network starts, and afterwards without what stays.

A full collection looks at every object of the process and stops everything meanwhile, 100 ms with a thousand mods.
What is frozen is not looked at. The price: frozen garbage stays until `collect`, which the census calls when that is
not felt.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

BOUNDED = 0.010
"""Seconds that a collection may take at any time; a longer one waits for a quiet moment."""

_STARTING = (50_000, 50, 100)
"""While a network starts nearly all that is made stays, and looking for garbage would take a tenth of the time."""
_SELDOM = 50
"""While mods are frozen, a full collection comes after so many of the middle ones: what it finds is short-lived."""
_PER_OBJECT = 5e-7
"""About how many seconds a collection takes for each object."""


_USUAL_THIRD = gc.get_threshold()[2]


@dataclass(slots=True)
class _Policy:
    """The process has one collector, so this has one instance."""

    usual: tuple[int, int, int] | None = None
    """The thresholds of before the start, while they do not count."""
    mods_are_frozen: bool = False


_policy = _Policy()


def begin_start() -> None:
    """Collect seldom until `end_start`."""
    _policy.usual = gc.get_threshold()
    gc.set_threshold(*_STARTING)


def freeze_own() -> None:
    """Freeze what was imported by now: it lives as long as the process."""
    gc.freeze()


def end_start() -> None:
    """Collect as usual; where mods are so many that it would be felt, they are frozen too."""
    if _policy.usual is not None and gc.get_threshold() == _STARTING:
        # Otherwise a mod has asked for thresholds of its own.
        gc.set_threshold(*_policy.usual)
    _policy.usual = None
    _freeze_where_felt()


def settle() -> None:
    """Freeze what has come in the first minute, as the agents, where it would be felt too."""
    _freeze_where_felt()


def _freeze_where_felt() -> None:
    if len(gc.get_objects()) * _PER_OBJECT <= BOUNDED:
        return
    gc.freeze()
    first, second, third = gc.get_threshold()
    if not _policy.mods_are_frozen and third == _USUAL_THIRD:
        # Otherwise a mod has asked for another.
        gc.set_threshold(first, second, _SELDOM)
    _policy.mods_are_frozen = True


def freeze_again() -> None:
    """Freeze everything again after something has ended that, in a network with so many mods."""
    if _policy.mods_are_frozen:
        gc.freeze()


def expected_cost() -> float:
    """About how long `collect` would take, in seconds."""
    frozen = gc.get_freeze_count() if _policy.mods_are_frozen else 0
    return (len(gc.get_objects()) + frozen) * _PER_OBJECT


def collect() -> float:
    """Collect all garbage, also of frozen mods; the seconds that it took."""
    began = time.perf_counter()
    if _policy.mods_are_frozen:
        gc.unfreeze()
    gc.collect()
    freeze_again()
    return time.perf_counter() - began
