"""Turns an exception into facts, with the place in the author's own code.

Pure but for reading the source lines that it shows. Never raises, whatever a mod's exception does
when it is printed.
"""

from __future__ import annotations

import builtins
import difflib
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from types import FrameType, TracebackType

from devserver.errors import ModConfigError, ModFault
from devserver.model.facts import ErrorFacts, Frame
from devserver.reload.elsewhere import FailedElsewhere
from devserver.sources.roots import Roots

MESSAGE_LIMIT = 2000
TRACE_LIMIT = 64 * 1024
_TRACE_FRAMES = 40
_MOST_CAUSES = 8

IsOwn = Callable[[str], bool]
"""Whether a file is code of mods, not of the server, Python, or a package."""


def error_facts(error: BaseException, is_own: IsOwn, shown: Callable[[str], str] = str) -> ErrorFacts:
    """Return an exception for people: kind, message, the place in their own code, the trace.

    Arguments: `is_own` says which files are the author's; `shown` how a file's path is shown.
    """
    _keep_from_importing(error)
    if isinstance(error, SyntaxError):
        return _of_syntax(error, shown)
    if isinstance(error, ModConfigError):
        return _of_config(error)
    first, message = _first_of(error), _message(error)
    if first is not error:
        message = f"{message}: {type(first).__name__}: {_message(first)}"
    places = (_own_frame(each, is_own, shown) for each in chain(_causes(first), _causes(error)))
    where = next((each for each in places if each is not None), None) or _named_place(error, shown)
    return ErrorFacts(type(error).__name__, message, where, _trace(error), _hint(first))


def _first_of(error: BaseException) -> BaseException:
    """Return the first exception of a group, which itself says only how many there are."""
    for _ in range(_MOST_CAUSES):
        if not isinstance(error, BaseExceptionGroup):
            break
        error = error.exceptions[0]
    return error


def _keep_from_importing(error: BaseException) -> None:
    """Have a trace name no other names of a module that lacks one: since Python 3.12 it imports the
    module for that, and so executes one of a failed attempt again, which then stays."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        pending += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        elif isinstance(each, ImportError):
            each.name_from = None  # type: ignore[attr-defined]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Return an exception and its causes: ours has a message for people, they have places."""
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _named_place(error: BaseException, shown: Callable[[str], str]) -> Frame | None:
    """Return the place that a fault of ours names itself."""
    if not isinstance(error, ModFault) or error.file is None:
        return None
    return Frame(shown(error.file), error.line, error.column, excerpt=excerpt(error.file, error.line))


def _message(error: BaseException) -> str:
    """Return the exception's text, with Python's suggestion; a stand-in if `__str__` fails."""
    try:
        text = str(error)
    except BaseException as broken:
        return f"(its text cannot be shown: {type(broken).__name__} in __str__)"
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]}… ({len(text)} characters)"


def _hint(error: BaseException) -> str | None:
    """Return Python's "Did you mean", which it adds to printed traces only, or what installs a package."""
    if not isinstance(error, NameError | AttributeError | ImportError):
        return None
    try:
        last = list(traceback.TracebackException.from_exception(error, limit=0).format_exception_only())[-1]
    except Exception:
        return None
    _, found, rest = last.partition("Did you mean: ")
    return f"Did you mean: {rest.strip()}" if found else _undeclared(error) or _suggested(error)


def _undeclared(error: BaseException) -> str | None:
    """Return what installs a missing package: if a mod had declared it, its import would not have been tried."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if not isinstance(name, str) or "." in name or name in sys.stdlib_module_names:
        return None
    return "If it is a package: list it under dependencies in # /// script, and oa-dev sync installs it"


def _suggested(error: BaseException) -> str | None:
    """Return the same for Python 3.11, which adds it only when the interpreter prints a trace."""
    name = str(getattr(error, "name", None) or "")
    try:
        known = [each for each in _known_names(error) if each != name] if name else []
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    except Exception:  # an object of a mod's own class may refuse to list its names
        return None
    return f"Did you mean: {close[0]!r}?" if close else None


def _known_names(error: BaseException) -> list[str]:
    """Return the names that could have been meant."""
    if isinstance(error, AttributeError):
        return [each for each in dir(error.obj) if isinstance(each, str)]
    places = list(traceback.walk_tb(error.__traceback__))
    if not isinstance(error, NameError) or not places:
        return []
    frame = places[-1][0]
    return [*frame.f_locals, *frame.f_globals, *dir(builtins)]


def _trace(error: BaseException) -> str:
    try:
        lines = traceback.TracebackException.from_exception(error, limit=-_TRACE_FRAMES, compact=True).format()
        text = "".join(lines)
    except BaseException as broken:
        return f"(the trace cannot be shown: {type(broken).__name__})"
    return text if len(text) <= TRACE_LIMIT else f"{text[:TRACE_LIMIT]}…"


def _of_syntax(error: SyntaxError, shown: Callable[[str], str]) -> ErrorFacts:
    kind = type(error).__name__
    if error.filename is None or error.lineno is None:
        return ErrorFacts(kind, _message(error), None, _trace(error))
    end = error.end_offset if error.end_lineno == error.lineno and (error.end_offset or 0) > 0 else None
    lines = excerpt(error.filename, error.lineno)
    where = Frame(shown(error.filename), error.lineno, error.offset or None, end, excerpt=lines)
    return ErrorFacts(kind, error.msg or kind, where, _trace(error))


def _of_config(error: ModConfigError) -> ErrorFacts:
    """Return one error for all misfits in a mod's configuration, at the place of the first."""
    first, *others = error.problems
    if not others:
        return first
    hints = [f"{each.message} ({each.hint})" if each.hint else each.message for each in error.problems]
    return replace(first, message="; ".join(hints), hint=None)


def _own_frame(error: BaseException, is_own: IsOwn, shown: Callable[[str], str]) -> Frame | None:
    """Return the innermost place in the author's own code."""
    found, step = None, error.__traceback__
    while step is not None:
        if is_own(step.tb_frame.f_code.co_filename):
            found = step
        step = step.tb_next
    if found is None:
        return None
    code, line = found.tb_frame.f_code, found.tb_lineno
    lines = excerpt(code.co_filename, line)
    column, end = _columns(found, dict(lines).get(line, ""))
    return Frame(shown(code.co_filename), line, column, end, function=code.co_qualname, excerpt=lines)


def _columns(step: TracebackType, text: str) -> tuple[int | None, int | None]:
    """Return the columns (from 1) of the instruction that a frame stopped at, in `text`."""
    position = next(islice(step.tb_frame.f_code.co_positions(), max(step.tb_lasti, 0) // 2, None), None)
    if position is None or not text:
        return None, None
    line, end_line, column, end_column = position
    if line != step.tb_lineno or column is None:
        return None, None
    end = _characters(text, end_column or column) + 1 if end_line == line else None
    return _characters(text, column) + 1, end


def _characters(text: str, offset: int) -> int:
    """Return how many characters a line's first `offset` bytes are: columns count bytes."""
    return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace"))


def excerpt(file: str, line: int) -> tuple[tuple[int, str], ...]:
    """Return a line of a file and the one before it, numbered, as they are on disk now."""
    linecache.checkcache(file)
    lines = ((number, linecache.getline(file, number)) for number in (line - 1, line) if number > 0)
    return tuple((number, text.rstrip("\r\n")) for number, text in lines if text)


class ForPeople:
    """Errors, files and stacks as the people of one workspace read them."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    def facts_of(self, error: BaseException) -> ErrorFacts:
        """Return an exception as facts, with the place in a mod's own code."""
        if isinstance(error, FailedElsewhere):
            return error.facts
        return error_facts(error, self.is_own, self.shown)

    def is_own(self, file: str) -> bool:
        """Return whether a file is code of mods, not of the server, Python, or a package."""
        # Code without a file, as that of a dataclass, has a name like "<string>" instead of a path.
        return os.path.isabs(file) and self._roots.holds(Path(file))

    def shown(self, file: str) -> str:
        """Return a file's path as people read it."""
        return self._roots.shown(Path(file))

    def where(self, stack: Iterable[FrameType]) -> str:
        """Return the innermost line of mods on a stack, as ` at mods/wiki/mod.py:7`, or ""."""
        own = [each for each in stack if self.is_own(each.f_code.co_filename)]
        return f" at {self.shown(own[-1].f_code.co_filename)}:{own[-1].f_lineno}" if own else ""
