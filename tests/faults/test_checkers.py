"""The checkers find what they are there to find."""

from __future__ import annotations

import logging
import threading

import pytest
from invariants import Ledger, footprint, log_faults, record_faults


@pytest.mark.parametrize(
    ("sent", "arrived", "faults"),
    [
        ([0, 1, 2], [0, 1, 2], {}),
        ([0, 1, 2], [0, 2], {"lost": [("bea", "ana", 1)]}),
        ([0, 1], [0, 1, 1], {"duplicated": [("bea", "ana", 1)]}),
        ([0], [0, 7], {"unexpected": [("bea", "ana", 7)]}),
        ([0, 1, 2], [0, 2, 1], {"overtaken": [("bea", "ana", 1)]}),
        ([0], [], {"lost": [("bea", "ana", 0)]}),
    ],
)
def test_the_books_show_what_went_wrong(sent: list[int], arrived: list[int], faults: dict[str, object]) -> None:
    """Each kind of fault by its name; what was refused was never owed."""
    books = Ledger()
    for number in sent:
        books.answer("ana", number, {"success": True})
    books.answer("ana", 99, {"success": False, "message": "full"})
    for number in arrived:
        books.arrive("bea", "ana", number)
    assert (books.faults(["bea"]), books.refused) == (faults, [("ana", 99, "full")])


FAULTS = [
    "Traceback (most recent call last):",
    "sys:1: RuntimeWarning: coroutine 'a' was never awaited",
    "Task exception was never retrieved",
    "Task was destroyed but it is pending!",
    "x.py:1: ResourceWarning: unclosed file",
    "Exception ignored in: <function f>",
    "Exception in thread Thread-1:",
    "Fatal Python error: Segmentation fault",
]


@pytest.mark.parametrize("line", FAULTS)
def test_a_log_is_looked_through(line: str) -> None:
    """A line of it that no one may find there is found."""
    assert log_faults(f"all is well\n{line}\nall is well") == [line]
    record = logging.LogRecord("asyncio", logging.WARNING, "", 1, line, (), None)
    assert record_faults([record]) == [line]


def test_an_error_of_our_own_is_a_fault_and_one_of_others_is_not() -> None:
    """What a mod logs is its own affair."""
    own = logging.LogRecord("devserver.api", logging.ERROR, "", 1, "failed", (), None)
    mods = logging.LogRecord("mods.wiki", logging.ERROR, "", 1, "no page", (), None)
    assert record_faults([own, mods]) == ["failed"]


def test_what_a_process_holds_on_to_is_seen() -> None:
    """A thread, a descriptor and a handler that were not there before; and that they are gone again."""
    before, over, handler = footprint(), threading.Event(), logging.NullHandler()
    thread = threading.Thread(target=over.wait, name="left behind")
    thread.start()
    logging.getLogger().addHandler(handler)
    with open(__file__):
        assert footprint().grown_from(before) == ["thread left behind", "1 more descriptors", "1 more handlers"]
    over.set()
    thread.join()
    logging.getLogger().removeHandler(handler)
    assert footprint().grown_from(before) == []
