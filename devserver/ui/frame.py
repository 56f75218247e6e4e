"""Errors as people need them: the place in their own code, two lines of source with carets, the
message, at most eight lines. Formats the facts of `ErrorFacts`; never reads a file and never
formats a trace of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from devserver.model.facts import ErrorFacts, Frame
from devserver.ui.escape import cells, safe, wrapped
from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.render import INDENT
from devserver.ui.segments import Block, Line, Place, Segment, dim, joined, plain
from devserver.ui.words import count, shortened

_NARROWEST = 20
_MOST_LINES = 6
"""The most lines of a message."""
_BRIEF = 200


def place(frame: Frame) -> Segment:
    """Return `file:line:column`, as a link to that place."""
    column = f":{frame.column}" if frame.column else ""
    return Segment(f"{frame.file}:{frame.line}{column}", Style.NOTE, Place(frame.file, frame.line))


def mod_error_block(head: Line, error: ErrorFacts, notes: tuple[str, str], view: View) -> Block:
    """Return an error of a mod under its headline: place, source, message, next step between two notes."""
    told = error_block(head, error, view)
    trace = f"t full trace{_frames(error.trace)}" if view.keys and error.trace else ""
    then = joined((notes[0], trace, notes[1]), view.dot)
    return replace(told, after=(*told.after, (dim(then),))) if then else told


def error_block(head: Line, error: ErrorFacts, view: View) -> Block:
    """Return an error of a mod under its headline: place, source, message."""
    where = error.where
    inside = f"  in {where.function}" if where and where.function else ""
    return Block(
        head,
        body=((place(where), dim(inside)),) if where else (),
        details=excerpt(where, view) if where else (),
        after=tuple((Segment(each, Style.BAD),) for each in _lines(message(error), view)),
    )


def config_error_block(head: Line, error: ErrorFacts, view: View) -> Block:
    """Return a problem in network.yaml under a headline that names its place already."""
    told = _lines(_with_hint(error.message or error.kind, error.hint), view)
    after = tuple((plain(each),) for each in told)
    return Block(head, details=excerpt(error.where, view) if error.where else (), after=after)


def message(error: ErrorFacts) -> str:
    """Return the message of an error with its kind, and its hint, as Python's own traces do."""
    return _with_hint(f"{error.kind}: {error.message}" if error.message else error.kind, error.hint)


def brief(error: ErrorFacts) -> str:
    """Return the message of an error with its kind and hint, as part of a longer line."""
    first, _, rest = error.message.strip().partition("\n")
    shown = replace(error, message=shortened(first, _BRIEF))
    return message(shown if not rest else replace(shown, message=f"{shown.message} …"))


def _lines(words: str, view: View) -> list[str]:
    """Return words in their lines, each wrapped to the terminal; surplus lines are counted."""
    written = [each.rstrip() for each in words.strip().split("\n") if each.strip()]
    if view.look.one_line:
        return [" | ".join(each.strip() for each in written)]
    room = max(_NARROWEST, view.width) - INDENT
    lines = [line for each in written for line in _indented(safe(each), max(_NARROWEST // 2, room))]
    rest = len(lines) - _MOST_LINES
    return lines if rest <= 0 else [*lines[:_MOST_LINES], f"{view.look.glyphs.more} {count(rest, 'more line')}"]


def _indented(text: str, columns: int) -> list[str]:
    """Return a written line, wrapped under its own indent."""
    own = text[: len(text) - len(text.lstrip())][: columns // 4]
    return [own + each for each in wrapped(text.strip(), columns - len(own))]


def _with_hint(words: str, hint: str | None) -> str:
    if not hint:
        return words
    end = "" if words.endswith((".", "!", "?")) else "."
    return f"{words}{end} {hint[0].upper()}{hint[1:]}"


def _frames(trace: str) -> str:
    """Return how many frames a trace has, if there are more than the shown one."""
    number = sum(line.startswith('  File "') for line in trace.splitlines())
    return f" ({number} frames)" if number > 1 else ""


def excerpt(frame: Frame, view: View) -> tuple[Line, ...]:
    """Return the line before, the line and carets below it; nothing if it is not known."""
    texts = dict(frame.excerpt)
    if frame.line not in texts:
        return ()
    digits = len(str(frame.line))
    room = max(_NARROWEST, view.width - INDENT - digits - 5)
    marked = _marked(texts[frame.line], frame.column, frame.end_column, room)
    bar = view.look.glyphs.gutter
    before = _source(texts.get(frame.line - 1, ""))[:room]
    quiet: Line = (dim(f"  {frame.line - 1:>{digits}} {bar} {before}".rstrip()),)
    here: Line = (Segment(f"{view.look.glyphs.here} {frame.line} {bar} ", Style.BAD), plain(marked.text))
    carets: Line = (
        dim(f"  {' ' * digits} {bar} {' ' * marked.offset}"),
        Segment(view.look.glyphs.caret * marked.width, Style.BAD),
    )
    return (*((quiet,) if before else ()), here, *((carets,) if marked.width else ()))


class _Marked(NamedTuple):
    """A line of source for the screen, and the columns of its carets."""

    text: str
    offset: int = 0
    width: int = 0


def _marked(text: str, column: int | None, end_column: int | None, room: int) -> _Marked:
    """Return the marked part of a line, at most `room` characters of it. `column` and `end_column`
    count from 1, the latter is the first one not marked; it may lie on a later line."""
    if column is None:
        return _Marked(_source(text)[:room])
    start = min(max(column - 1, 0), len(text))
    stop = max(start + 1, min((end_column or 0) - 1, len(text)))
    before, inside = _source(text[max(0, start - room) : start]), _source(text[start:stop][:room])
    if start > room or len(before) + len(inside) > room:
        before = before[-(room // 3) :]
    shown = (before + inside + _source(text[stop : stop + room]))[:room]
    return _Marked(shown, cells(before), max(1, cells(shown[len(before) : len(before) + len(inside)])))


def _source(text: str) -> str:
    """Return source that can be shown and measured: tabs of one width, nothing for terminals."""
    return safe(text.rstrip("\r\n").replace("\t", "    "))
