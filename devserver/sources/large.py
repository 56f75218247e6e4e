"""Compiles and reads large sources in a process of its own.

Python runs no other thread meanwhile, and so gives agents no answer: a call with 50,000 keyword arguments takes 18 s.
A tree stays there, too: to make and to drop a million nodes stops all threads for as long. What was read comes back.
"""

from __future__ import annotations

import marshal
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from copy import copy
from functools import lru_cache, wraps
from types import CodeType
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

LARGE = 128 * 1024
"""The most bytes that are compiled in this process: a tenth of a second."""
_MANY = 2500
"""The most signs of equality: Python compares each keyword argument of a call with all others."""
_LOOKS = 0.1
"""Seconds after which a thread that waits can be interrupted."""
_DEEP = 100_000

_is_apart = True

Question = tuple[Callable[..., Any], tuple[Any, ...], tuple[tuple[str, Any], ...]]
"""A function that reads sources, with its arguments."""

ahead: ContextVar[dict[Question, Any] | None] = ContextVar("ahead", default=None)
"""What was read of large sources, or the error, where a thread must not wait: for others, Unread is raised."""


class Unread(Exception):
    """A large source has to be read, on a thread that answers agents."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"{question[0].__name__} has to read a large source elsewhere first")
        self.question = question


def stay_here() -> None:
    """Start no process for large sources from now on: this one may start none, or is for mods."""
    global _is_apart
    _is_apart = False


def is_large(data: bytes) -> bool:
    """Return whether a source takes Python too long for a process that answers agents."""
    return _is_apart and (len(data) > LARGE or data.count(b"=") > _MANY)


def code_of(data: bytes, path: str) -> CodeType:
    """Compile the source of a module. Raises as `compile`."""
    if not is_large(data):
        return compile(data, path, "exec", dont_inherit=True)
    answer = _apart(path, _written_code, data, path, sys.flags.optimize)
    if isinstance(answer, Exception):
        raise answer
    written, told = answer
    for text, category, line in told:
        warnings.warn_explicit(text, category, path, line)
    code: CodeType = marshal.loads(written)
    return code


def _written_code(data: bytes, path: str, optimize: int) -> tuple[bytes, list[tuple[str, type[Warning], int]]]:
    """Return the code of a module as bytes, and Python's warnings about its source."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        code = compile(data, path, "exec", dont_inherit=True, optimize=optimize)
    return marshal.dumps(code), [(str(each.message), each.category, each.lineno) for each in told]


def reads_sources(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a function at the top of its module read large sources in a process of its own.

    Its arguments and its result are pickled: the result holds data, and no tree.
    """

    @wraps(function)
    def reading(*arguments: _P.args, **keywords: _P.kwargs) -> _T:
        if not any(isinstance(each, bytes) and is_large(each) for each in arguments):
            return function(*arguments, **keywords)
        question: Question = (reading, arguments, tuple(keywords.items()))
        known = ahead.get()
        if known is not None and question not in known:
            raise Unread(question)
        found: _T = answer_of(question) if known is None else known[question]
        if isinstance(found, Exception):
            raise copy(found)
        return found

    return reading


def answer_of(question: Question) -> Any:
    """Return what a function reads of large sources, or the error that it raises."""
    try:
        return _read(question)
    except SyntaxError as error:
        return error


# A save reads each source for its imports, its declarations and its containers, before and after. That a process has
# ended says nothing about the source: the error is raised, and so not kept.
@lru_cache(maxsize=128)
def _read(question: Question) -> Any:
    function, arguments, keywords = question
    return _apart("<unknown>", function, *arguments, **dict(keywords))


def _apart(path: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Return what a function makes of the source at a path in a process of its own, or the error that it raises there.

    Raises SyntaxError where the process ends without an answer.
    """
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, __file__]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, start_new_session=True)
    except OSError:  # the system gives no process: then here, though others wait
        return getattr(function, "__wrapped__", function)(*arguments, **keywords)
    with process:
        try:
            answer = _answer(process, pickle.dumps((function, arguments, keywords)))
        finally:
            # Where this thread is interrupted, too.
            process.kill()
    if not answer:
        words = f"the process that read it ended with {process.returncode}"
        raise SyntaxError(words, (path, 1, None, None))
    # Ours: it holds what Python made of the source, and the source itself was not executed.
    return pickle.loads(answer)


def _answer(process: subprocess.Popen[bytes], data: bytes) -> bytes:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(data)
    # It has no more to get: `communicate` sends only in its first turn.
    process.stdin = None
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_LOOKS)[0]


# In the process of its own

_PROGRAM = """\
import os, sys
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(sys.argv[1]))))
from devserver.sources.large import answer
answer()
"""


def answer() -> None:
    """Call the function on stdin, pickled; write its result, or its error, to stdout."""
    stay_here()
    sys.setrecursionlimit(_DEEP)
    warnings.simplefilter("ignore")
    function, arguments, keywords = pickle.loads(sys.stdin.buffer.read())
    result: Any
    try:
        result = function(*arguments, **keywords)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        result = error.with_traceback(None)
    sys.stdout.buffer.write(pickle.dumps(result))
