"""What has to be true after every test, whatever it did: the books balance, the log is quiet, nothing is left behind.

Checks only; starts and repairs nothing.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

_FAULTS = re.compile(
    r"Traceback \(most recent call last\)|was never awaited|never retrieved|Task was destroyed but it is pending"
    r"|ResourceWarning|Exception ignored in|Exception in thread|Unclosed |Fatal Python error"
)


def log_faults(text: str) -> list[str]:
    """The lines of a log that no one may ever find in one: tracebacks, forgotten tasks, leaked resources."""
    return [line for line in text.splitlines() if _FAULTS.search(line)]


def record_faults(records: Iterable[logging.LogRecord]) -> list[str]:
    """The same of log records: also an error of the server's own, which no mod's fault may become."""
    own = [each.getMessage() for each in records if each.levelno >= logging.ERROR and each.name.startswith("devserver")]
    return own + [fault for each in records for fault in log_faults(each.getMessage())]


@dataclass
class Ledger:
    """The books of numbered events between agents: each acknowledged one ends at each of its receivers, once."""

    acknowledged: dict[str, list[int]] = field(default_factory=dict)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    arrived: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def answer(self, sender: str, number: int, answer: Mapping[str, object]) -> None:
        """A sender was answered."""
        if answer.get("success") is True:
            self.acknowledged.setdefault(sender, []).append(number)
        else:
            self.refused.append((sender, number, str(answer.get("message"))))

    def arrive(self, receiver: str, sender: str, number: int) -> None:
        """An event arrived."""
        self.arrived.setdefault((receiver, sender), []).append(number)

    def faults(self, receivers: Iterable[str]) -> dict[str, list[tuple[str, str, int]]]:
        """Lost, duplicated, unexpected and overtaken events by receiver and sender; nothing where all went well."""
        found: dict[str, list[tuple[str, str, int]]] = {}
        for receiver in receivers:
            for sender, sent in self.acknowledged.items():
                if sender != receiver:
                    self._compare(receiver, sender, sent, found)
        return found

    def _compare(
        self, receiver: str, sender: str, sent: list[int], found: dict[str, list[tuple[str, str, int]]]
    ) -> None:
        got = self.arrived.get((receiver, sender), [])
        kinds = {
            "lost": sorted(set(sent) - set(got)),
            "duplicated": [number for number, count in Counter(got).items() if count > 1],
            "unexpected": sorted(set(got) - set(sent)),
            "overtaken": [later for earlier, later in itertools.pairwise(got) if later < earlier],
        }
        for kind, numbers in kinds.items():
            if numbers:
                found.setdefault(kind, []).extend((receiver, sender, number) for number in numbers)


@dataclass(frozen=True)
class Footprint:
    """What a process holds on to."""

    threads: frozenset[str]
    descriptors: int
    handlers: int
    finders: int
    signals: tuple[object, ...]
    factories: tuple[object, ...]

    def grown_from(self, before: Footprint) -> list[str]:
        """In words, what is there now and was not before."""
        more = [f"thread {name}" for name in sorted(self.threads - before.threads)]
        for name in ("descriptors", "handlers", "finders"):
            if getattr(self, name) > getattr(before, name):
                more.append(f"{getattr(self, name) - getattr(before, name)} more {name}")
        return more + [f"another {name}" for name in ("signals", "factories") if _differ(self, before, name)]


def _differ(one: Footprint, other: Footprint, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def footprint() -> Footprint:
    """That of this process, now."""
    gc.collect()
    return Footprint(
        threads=frozenset(each.name for each in threading.enumerate() if each.is_alive()),
        descriptors=len(os.listdir("/proc/self/fd")),
        handlers=len(logging.getLogger().handlers),
        finders=len(sys.meta_path),
        signals=tuple(signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
        factories=(threading.excepthook, sys.excepthook),
    )


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every test of a tree whose conftest imports this leaves a log without faults."""
    yield
    gc.collect()
    assert record_faults([*caplog.get_records("setup"), *caplog.get_records("call")]) == []
