"""Prints the output of commands: blocks, lines, words, JSON. Everything is escaped here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from datetime import datetime

from devserver.cli.locate import workspace
from devserver.ui.escape import safe
from devserver.ui.look import View, look_of
from devserver.ui.render import render, render_line
from devserver.ui.segments import Block, Line
from devserver.ui.terminal import is_tty, terminal_width


def view(started: bool = True) -> View:
    """Return how standard output can be written to."""
    look = look_of(is_tty(sys.stdout), os.environ, encoding=sys.stdout.encoding)
    return View(look, terminal_width(), started)


def show(blocks: Iterable[Block]) -> None:
    """Print blocks, with the present time where they show one."""
    look, now = view().look, datetime.now().astimezone().strftime("%H:%M:%S")
    root = workspace()
    sys.stdout.write("".join(render(each, look, now, root) for each in blocks))


def show_lines(lines: Iterable[Line]) -> None:
    """Print lines at once, also into a pipe."""
    for line in lines:
        print(render_line(line, view().look), flush=True)


def say(words: str) -> None:
    """Print one line of words."""
    print(safe(words))


def say_json(values: object, *, line: bool = False) -> None:
    """Print JSON: indented for a person at a terminal, one line for a program, and always with `line`."""
    # For programs ASCII, so that lone surrogates survive; for people their own letters, and no
    # escape sequences.
    people = is_tty(sys.stdout) and not line
    text = json.dumps(values, ensure_ascii=not people, indent=2 if people else None)
    print("\n".join(safe(each) for each in text.split("\n")) if people else text, flush=True)
