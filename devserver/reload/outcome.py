"""Turns what happened into facts: an exception into the place in the author's own code, a step into its outcome.

Pure but for reading the source lines that it shows. Never raises, whatever a mod's exception does when it is printed.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from devserver.errors import DevServerError
from devserver.model.facts import ErrorFacts, Frame

MESSAGE_LIMIT = 2000
TRACE_LIMIT = 64 * 1024
_TRACE_FRAMES = 40

IsOwn = Callable[[str], bool]
"""Whether a file is code of mods, rather than of us, of Python, or of an installed package."""


def error_facts(
    error: BaseException, is_own: IsOwn, shown: Callable[[str], str] = str, root: bool = True
) -> ErrorFacts:
    """What people need of an exception: its kind, message, the place in their own code, and the whole trace.

    Arguments: `is_own` says which files are the author's; `shown` how a file's path is shown.
    """
    error = _told(error)
    if isinstance(error, SyntaxError):
        return _of_syntax(error, shown)
    where = _own_frame(error, is_own, shown)
    return ErrorFacts(_kind(error), _message(error), where, _trace(error), _hint(error))


def _told(error: BaseException) -> BaseException:
    """Of an error of ours that was caused by a mod's, the mod's: that is what its author can mend."""
    while isinstance(error, DevServerError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _message(error: BaseException) -> str:
    """The exception's text, with Python's own suggestion; a stand-in where its `__str__` fails."""
    try:
        text = str(error)
    except BaseException as broken:
        return f"(its text cannot be shown: {type(broken).__name__} in __str__)"
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]}… ({len(text)} characters)"


def _hint(error: BaseException) -> str | None:
    """Python's "Did you mean", which it adds to printed traces only."""
    if not isinstance(error, NameError | AttributeError | ImportError):
        return None
    try:
        last = list(traceback.TracebackException.from_exception(error, limit=0).format_exception_only())[-1]
    except Exception:
        return None
    _, found, rest = last.partition("Did you mean: ")
    return f"Did you mean: {rest.strip()}" if found else None


def _trace(error: BaseException) -> str:
    try:
        lines = traceback.TracebackException.from_exception(error, limit=_TRACE_FRAMES, compact=True).format()
        text = "".join(lines)
    except BaseException as broken:
        return f"(the trace cannot be shown: {type(broken).__name__})"
    return text if len(text) <= TRACE_LIMIT else f"{text[:TRACE_LIMIT]}…"


def _of_syntax(error: SyntaxError, shown: Callable[[str], str]) -> ErrorFacts:
    kind = _kind(error)
    if error.filename is None or error.lineno is None:
        return ErrorFacts(kind, _message(error), None, _trace(error))
    end = error.end_offset if error.end_lineno == error.lineno and (error.end_offset or 0) > 0 else None
    where = Frame(
        shown(error.filename), error.lineno, error.offset or None, end, "", excerpt(error.filename, error.lineno)
    )
    return ErrorFacts(kind, error.msg or kind, where, _trace(error))


def _own_frame(error: BaseException, is_own: IsOwn, shown: Callable[[str], str]) -> Frame | None:
    """The innermost place in the author's own code."""
    found = None
    for step in _steps(error.__traceback__):
        if is_own(step.tb_frame.f_code.co_filename):
            found = step
    return None if found is None else _frame(found, shown)


def _steps(trace: TracebackType | None) -> Iterable[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _frame(step: TracebackType, shown: Callable[[str], str]) -> Frame:
    code = step.tb_frame.f_code
    line, column, end = _position(step)
    return Frame(shown(code.co_filename), line, column, end, code.co_qualname, excerpt(code.co_filename, line))


def _position(step: TracebackType) -> tuple[int, int | None, int | None]:
    """Line and columns (from 1) of the instruction that a frame stopped at."""
    positions = list(step.tb_frame.f_code.co_positions())
    index = step.tb_lasti // 2
    if index >= len(positions):
        return step.tb_lineno, None, None
    line, end_line, column, end_column = positions[index]
    if line != step.tb_lineno or column is None:
        return step.tb_lineno, None, None
    return step.tb_lineno, column + 1, (end_column or column) + 1 if end_line == line else None


def excerpt(file: str, line: int) -> tuple[tuple[int, str], ...]:
    """A line of a file and the one before it, each with its number, as they are on disk now."""
    linecache.checkcache(file)
    lines = ((number, linecache.getline(file, number)) for number in (line - 1, line) if number > 0)
    return tuple((number, text.rstrip("\r\n")) for number, text in lines if text)


def own_files(folders: Iterable[Path], excluded: Callable[[Path], bool]) -> IsOwn:
    """The test for files of mods: below one of `folders` and not `excluded`."""
    roots = tuple(folders)

    def is_own(file: str) -> bool:
        path = Path(file)
        return any(path.is_relative_to(root) for root in roots) and not excluded(path)

    return is_own
