"""Has work done in a fresh process, where code of mods is executed that must not run in this one.

Nothing of a mod has run in that process before. It is a fork of the fork server where there is one, else a fresh
interpreter. What it prints is thrown away, but for the last line that it says of errors.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from devserver.server.fork_server import STALE, ForkServer
from devserver.server.image import nameless_file, write_memory
from devserver.sources.large import stay_here

Row = dict[str, Any]
Write = Callable[[Row], None]
Function = Callable[[Mapping[str, Any], Write], None]

_PROGRAM = f"import {__name__}, sys; {__name__}.work(*map(int, sys.argv[1:]))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """How work is done aside.

    `patience`: the seconds that it may take; `environ`: its environment, this one's by default; `also`: modules of ours
    that have to be importable there too; `forks` forks for it where that is as good as a fresh interpreter; `begun`:
    given a function that ends the process, to be called where its results are not wanted any more.
    """

    patience: float
    environ: Mapping[str, str] | None = None
    also: Sequence[str] = ()
    forks: ForkServer | None = None
    begun: Callable[[Callable[[], None]], None] = lambda end: None


@dataclass(frozen=True, slots=True)
class Done:
    """The rows that were written, the code that the process ended with (None: it was ended, too late), and the last
    line that it said of errors."""

    rows: tuple[Row, ...]
    code: int | None
    said: str = ""


def do_aside(function: Function, values: Mapping[str, Any], folder: Path, how: Aside) -> Done:
    """Have a function of a module of ours work in a process of its own, in this folder. Blocks
    until that has ended. The function gets `values`, which are plain, and writes rows for JSON."""
    environ = dict(os.environ if how.environ is None else how.environ)
    request = write_memory({
        "folder": str(folder), "environ": environ, "also": tuple(how.also),
        "function": function, "values": dict(values),
    })  # fmt: skip
    with open(request, "rb"), open(nameless_file(), "w+b") as results, open(nameless_file(), "w+b") as errors:
        descriptors = (request, results.fileno(), errors.fileno())
        code = STALE
        if how.forks is not None and how.forks.fits(environ):
            code = _forked(how.forks, descriptors, how)
        if code == STALE:
            code = _started(environ, descriptors, folder, how)
        results.seek(0)
        errors.seek(0)
        # What was not written to its end is not counted.
        rows = tuple(json.loads(line) for line in results if line.endswith(b"\n"))
        last = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        return Done(rows, int(code) if code else None, last[0] if last else "")


def _forked(forks: ForkServer, descriptors: tuple[int, int, int], how: Aside) -> bytes:
    """Return the code of a working fork; STALE to use another process, None if ended."""
    try:
        line = forks.fork(*descriptors)
    except OSError:
        return STALE
    unwanted = threading.Event()

    def end() -> None:
        unwanted.set()
        with suppress(OSError):  # the fork may have ended
            line.shutdown(socket.SHUT_RDWR)

    with line:
        line.settimeout(how.patience)
        how.begun(end)
        try:
            # Without a word where there is no fork server any more.
            return line.recv(16) or (b"" if unwanted.is_set() else STALE)
        except TimeoutError:
            return b""


def _started(environ: Mapping[str, str], descriptors: tuple[int, int, int], folder: Path, how: Aside) -> bytes:
    """Return the code of a fresh interpreter that did the work; nothing where it was ended."""
    # -P: what lies in the working directory must not stand before Python's own modules.
    command = [sys.executable, "-P", "-c", _PROGRAM, *map(str, descriptors)]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environ),
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=descriptors[2],
        # Of its own session: it is not a process of a mod, and no signal of the terminal is meant for it.
        start_new_session=True,
    ) as process:
        how.begun(process.kill)
        try:
            return b"%d" % process.wait(how.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            return b""


# In the process of its own


def work(request: int, results: int, errors: int) -> NoReturn:
    """Do what a request says; the end of this process."""
    code = 1
    try:
        os.dup2(errors, sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
        code = _work(request, results)
        sys.stderr.flush()
    finally:
        # Threads that an import has started do not delay the exit.
        os._exit(code)


def become(folder: str, environ: Mapping[str, str]) -> None:
    """Have the folder and the environment of a fresh start, also where Python has looked at others already."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.dont_write_bytecode = bool(environ.get("PYTHONDONTWRITEBYTECODE"))
    tempfile.tempdir = None


def _work(request: int, results: int) -> int:
    def write(row: Row) -> None:
        os.write(results, json.dumps(row).encode() + b"\n")

    try:
        with open(request, "rb", closefd=False) as stream:
            stream.seek(0)
            asked = pickle.load(stream)
        become(asked["folder"], asked["environ"])
        stay_here()
        for each in asked["also"]:
            __import__(each)
        asked["function"](asked["values"], write)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # whatever the work raises is told here: the parent sees the exit code alone
        traceback.print_exc()
        return 1
    return 0
