"""Ends Python code on another thread, and what it holds of the import system. Both are the best that can be done.

Code that waits in C (a sleep, a read without a timeout) is interrupted when it comes back to Python.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any


def interrupt(thread: int, reason: type[BaseException]) -> None:
    """Raise `reason` at the next Python instruction of a thread (Python/C API, PyThreadState_SetAsyncExc)."""
    import ctypes  # rarely needed, and no start shall wait for it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(reason))


def release_locks(modules: Iterable[str]) -> None:
    """Let others import these modules, though a thread that does not end is importing them still."""
    # Private names. Otherwise the next import would wait for the one that hangs, or be handed its module.
    locks: dict[str, object] = vars(importlib)["_bootstrap"]._module_locks
    reloading: dict[str, object] = vars(importlib)["_RELOADING"]
    for name in list(modules):
        locks.pop(name, None)
        reloading.pop(name, None)


def import_lock(name: str) -> AbstractContextManager[Any]:
    """Keep imports of a module on other threads waiting."""
    return vars(importlib)["_bootstrap"]._ModuleLockManager(name)  # type: ignore[no-any-return]


def wait_for_import(name: str) -> None:
    """Wait until a module that another thread is importing is complete. Blocks."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if getattr(spec, "_initializing", False):
        vars(importlib)["_bootstrap"]._lock_unlock_module(name)


def is_importing_library(stack: Sequence[FrameType], is_own: Callable[[str], bool]) -> bool:
    """Whether what runs, below the innermost line of mods, is the import of a library (outermost frame first)."""
    for frame in reversed(stack):
        file = frame.f_code.co_filename
        if is_own(file):
            return False
        if file.startswith("<frozen importlib"):
            return True
    return False
