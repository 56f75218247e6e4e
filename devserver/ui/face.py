"""A face as the server sees it: it is told facts, and perhaps reads keys.

Puts the parts of a face together; knows nothing of networks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from devserver.model import logs
from devserver.model.facts import Fact, Notice
from devserver.ui.console import Console
from devserver.ui.jsonl import JsonLines, log_line, utc_now
from devserver.ui.keymap import shortcuts
from devserver.ui.keys import Keys
from devserver.ui.log import LogLines, next_level
from devserver.ui.look import look_of
from devserver.ui.terminal import Mode, is_tty
from devserver.ui.writer import Writer


@dataclass(frozen=True, slots=True)
class Face:
    """Takes facts, and gives keys.

    `tell` may be called from any thread, returns at once and never raises. `close` comes last and
    stops the keys too. `keys` is None without a terminal to read. `reveal` shows the address of the
    page in the browser with the token in it, and why: only when a person asks.
    """

    tell: Callable[[Fact], None]
    close: Callable[[], None]
    log: LogLines
    keys: Keys | None = None
    leave: Callable[[], None] = lambda: None
    """Writes what was told, and leaves the terminal to the next image; `go_on` undoes that."""
    go_on: Callable[[], None] = lambda: None
    reveal: Callable[[str, str], None] = lambda page, why: None
    event: Callable[[Mapping[str, Any]], None] = lambda row: None
    """Shows an event that has ended, if a person has asked for that."""
    editor: Callable[[str], None] = lambda command: None
    """Takes the command of the editor that the key `e` opens."""


def console_face(
    stream: TextIO,
    *,
    root: Path,
    version: str,
    keys: bool = True,
    log_errors: TextIO | None = None,
    mode: Mode | None = None,
) -> Face:
    """Return the face for people: a console on `stream`, and the keys from standard input.

    `mode` is the terminal's at the end, if an earlier image of this process has changed it. With
    `log_errors`, the log goes to that stream as JSON lines instead.
    """
    descriptor = _readable_terminal() if keys and not look_of(is_tty(stream), os.environ).one_line else None
    console = Console(stream, root=root, version=version, keys=descriptor is not None)
    log, close_log = (LogLines(console.log), _nothing) if log_errors is None else _json_log(log_errors)

    def close_both() -> None:
        console.close()
        close_log()

    if descriptor is None:
        return Face(console.tell, close_both, log, leave=close_both, go_on=console.open_again)
    own = _own_keys(console)
    reader = Keys(descriptor, ask=console.ask, own=own, quiet=console.quiet, before=mode)

    def set_editor(command: str) -> None:
        own["edit"] = lambda: _edit(console, reader, command, root)

    def close() -> None:
        reader.stop()
        close_both()

    def leave() -> None:
        reader.leave()
        close_both()

    def go_on() -> None:
        console.open_again()
        reader.go_on()

    return Face(
        console.tell,
        close,
        log,
        keys=reader,
        leave=leave,
        go_on=go_on,
        reveal=console.reveal,
        event=console.event,
        editor=set_editor,
    )


def _edit(console: Console, reader: Keys, command: str, root: Path) -> None:
    """Open the place of the latest error in the editor, or tell why that is impossible."""
    # Here and not above: rarely needed.
    from devserver.ui.editor import NO_EDITOR, edit_of, open_in

    if (place := console.place) is None:
        return console.tell(Notice("no error with a place in a file so far", calm=True))
    edit = edit_of(command, root / place.file, place.line)
    problem = NO_EDITOR if edit is None else open_in(edit, reader.paused())
    return console.tell(Notice(problem or f"opened {place.file}:{place.line}", calm=not problem))


def _readable_terminal() -> int | None:
    """Return standard input's descriptor if it is a terminal; Python has none if it was closed."""
    stdin: TextIO | None = sys.stdin
    return stdin.fileno() if stdin is not None and is_tty(stdin) else None


def json_face(stream: TextIO, errors: TextIO, *, human_log: bool = False) -> Face:
    """Return the face for programs: JSON lines, and the log on `errors`, as JSON or for people."""
    lines = JsonLines(stream)
    log, close_log = _human_log(errors) if human_log else _json_log(errors)

    def close() -> None:
        lines.close()
        close_log()

    return Face(lines.tell, close, log, leave=close, go_on=lines.open_again)


def _json_log(errors: TextIO) -> tuple[LogLines, Callable[[], None]]:
    """Return the log as JSON lines on a stream, and its close function."""
    log = Writer(errors, lambda dropped: f"{dropped} log lines dropped: the reader is too slow\n")
    return LogLines(lambda said: log.write(log_line(said, utc_now()))), log.close


def _human_log(errors: TextIO) -> tuple[LogLines, Callable[[], None]]:
    """Return the log as lines for people on a stream, and its close function."""
    console = Console(errors)
    return LogLines(console.log), console.close


def _nothing() -> None:
    """Close nothing."""


def _own_keys(console: Console) -> dict[str, Callable[[], None]]:
    def turn_log_level() -> None:
        logs.set_level(next_level(logs.level()))
        console.tell(Notice(f"log level: {logs.level()}", calm=True))

    return {
        "log_level": turn_log_level,
        "help": lambda: console.help(shortcuts()),
        "clear": console.clear,
        "trace": console.trace,
        "differences": console.differences,
    }
