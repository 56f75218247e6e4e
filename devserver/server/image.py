"""This process's own image: how it was started, and its replacement by a fresh one.

The conditions of a fresh start are restored first: arguments, environment, folder, umask, signals.
Only inheritable descriptors and the memory file survive. Knows nothing of networks.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

VARIABLE = "OA_DEV_RESTARTED"
"""The variable with which an image tells its successor the descriptor of the memory file."""

_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that wait between two images: the second one hears them."""


def supported() -> bool:
    """Return whether this system replaces a process's image and keeps descriptors and id."""
    return os.name == "posix"


def _umask() -> int:
    found = os.umask(0o077)
    os.umask(found)
    return found


def _ignored() -> frozenset[int]:
    return frozenset(n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN)


@dataclass(frozen=True, slots=True)
class Image:
    """How this process was started. Make it before anything has changed that."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    folder: str = field(default_factory=os.getcwd)
    umask: int = field(default_factory=_umask)
    ignored: frozenset[int] = field(default_factory=_ignored)
    began: float = field(default_factory=time.time)
    """When it began, in seconds since 1970."""

    @property
    def arguments(self) -> list[str]:
        """The arguments of the interpreter, which is the first, with its own options."""
        return [sys.executable, *sys.orig_argv[1:]]

    def problem(self) -> str | None:
        """Return why a fresh image cannot be started, or None. Starts nothing."""
        if not supported():
            return "this system cannot replace the image of a process"
        if not os.access(sys.executable, os.X_OK):
            return f"{sys.executable} is not a program any more"
        return None if os.path.isdir(self.folder) else f"the folder {self.folder} is gone"

    def replace(self, variables: Mapping[str, str], inherited: Iterable[int]) -> NoReturn:
        """Become a fresh image, which has `variables` in its environment and these descriptors. Ends no thread.

        Raises OSError where the system refuses; no other process has these descriptors then, and signals are heard.
        """
        descriptors = tuple(inherited)
        try:
            self._replace(variables, descriptors)
        finally:
            hear_signals()
            for each in descriptors:
                os.set_inheritable(each, False)

    def _replace(self, variables: Mapping[str, str], inherited: Iterable[int]) -> NoReturn:
        for each in inherited:
            os.set_inheritable(each, True)
        os.chdir(self.folder)
        os.umask(self.umask)
        # Timers outlive the image that set them, and their signals would end the next one.
        for kind in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(kind, 0)
        for number in _ignored() - self.ignored:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        os.execve(sys.executable, self.arguments, {**self.environ, **variables})


def hear_signals() -> None:
    """Receive signals that an image has held back for this one. Call it once they are handled."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


# The memory file


def write_memory(values: Mapping[str, Any]) -> int:
    """Write plain values to a nameless file, in memory where possible; return its descriptor.

    Raises OSError if memory or disk is full.
    """
    descriptor = nameless_file()
    try:
        with open(descriptor, "wb", closefd=False) as stream:
            pickle.dump(dict(values), stream, pickle.HIGHEST_PROTOCOL)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def nameless_file() -> int:
    """Return an empty file without a name, in memory where possible; its descriptor."""
    if hasattr(os, "memfd_create"):
        # A sandbox may refuse it.
        with suppress(OSError):
            return os.memfd_create("oa-dev")
    descriptor, path = tempfile.mkstemp(prefix="oa-dev-")
    os.unlink(path)
    return descriptor


def take_memory(environ: MutableMapping[str, str]) -> dict[str, Any] | None:
    """Return the heritage of the image before this one, read once; None if there was none."""
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    with open(int(text), "rb") as stream:
        values: dict[str, Any] = pickle.load(stream)
    return values
