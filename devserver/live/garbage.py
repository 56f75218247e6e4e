"""When garbage is collected: seldom while a network starts, then without the objects that stay.

A full collection looks at every object of the process and stops everything meanwhile, 100 ms with a
thousand mods. Frozen objects are not looked at. The price: frozen garbage stays until `collect`,
which the census calls in a quiet moment.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass

BOUNDED = 0.010
"""Seconds that a collection may take at any time; a longer one waits for a quiet moment."""

_STARTING = (1_000_000, 50, 100)
"""While a network starts nearly all new objects stay, 300 of each mod: collecting would take a tenth of it."""
_SELDOM = 50
"""With frozen mods, a full collection comes after so many middle ones: garbage is short-lived."""
_PER_BLOCK = 1.2e-7
"""The rough cost of a collection for each allocated block, in seconds."""


_USUAL_THIRD = gc.get_threshold()[2]


@dataclass(slots=True)
class _Policy:
    """The process has one collector, so this has one instance."""

    usual: tuple[int, int, int] | None = None
    """The thresholds before the start, while they are not in effect."""
    own_blocks: int = 0
    """The blocks that were allocated when the server's own objects were frozen."""
    mods_are_frozen: bool = False


_policy = _Policy()


def begin_start() -> None:
    """Collect seldom until `end_start`."""
    _policy.usual = gc.get_threshold()
    gc.set_threshold(*_STARTING)


def freeze_own() -> None:
    """Freeze all that has been imported so far: it lives as long as the process."""
    gc.freeze()
    _policy.own_blocks = sys.getallocatedblocks()


def end_start() -> None:
    """Collect as usual again; freeze the mods, too, if a collection would be felt."""
    if _policy.usual is not None and gc.get_threshold() == _STARTING:
        # A mod may have set thresholds of its own.
        gc.set_threshold(*_policy.usual)
    _policy.usual = None
    settle()


def settle() -> None:
    """Freeze what has been made so far, as agents in the first minute, if a collection would be felt."""
    if _cost_of(sys.getallocatedblocks() - _policy.own_blocks) <= BOUNDED:
        return
    gc.freeze()
    first, second, third = gc.get_threshold()
    if not _policy.mods_are_frozen and third == _USUAL_THIRD:
        # A mod may have set another threshold.
        gc.set_threshold(first, second, _SELDOM)
    _policy.mods_are_frozen = True


def freeze_again() -> None:
    """Freeze everything again after something has ended that, in a network with many mods."""
    if _policy.mods_are_frozen:
        gc.freeze()


def expected_cost() -> float:
    """Estimate the seconds that `collect` would take."""
    passed_over = 0 if _policy.mods_are_frozen else _policy.own_blocks
    return _cost_of(sys.getallocatedblocks() - passed_over)


def _cost_of(blocks: int) -> float:
    # Not `gc.get_objects()`: while such a list is alive, `tuple(...)` of a generator fails in any other thread.
    return blocks * _PER_BLOCK


def collect() -> float:
    """Collect all garbage, also of frozen mods; return the seconds that it took."""
    began = time.perf_counter()
    if _policy.mods_are_frozen:
        gc.unfreeze()
    gc.collect()
    freeze_again()
    return time.perf_counter() - began
