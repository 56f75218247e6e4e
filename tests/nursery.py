"""Real processes of `oa-dev`, forked from one that has imported it: a start costs a fraction of a new interpreter's.

What is made here is a process like any other, a child of the test's own process: with an id, folder, environment,
descriptors, signals and exit code of its own. Two things differ: its modules were imported before, and a command does
not take them down at its end. A test whose fact is about a new interpreter (what is imported, how long a start takes)
uses `subprocess` itself. Where the system cannot do it, and for options that need a new interpreter, one is started.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

SCRIPT = str(Path(sys.executable).with_name("oa-dev"))
INLINE = "from devserver.cli import main; main()"

_SUBREAPER = 36
"""prctl(2), PR_SET_CHILD_SUBREAPER: what loses its parent becomes a child of this process."""

_HANDED = (
    *("args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo", "creationflags"),
    *("shell", "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite", "restore_signals", "gid", "gids"),
    *("uid", "umask", "start_new_session", "process_group"),
)
"""What `subprocess.Popen` hands to its `_execute_child`, from Python 3.11 to 3.13."""

_FREELY = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH")
"""Variables of the interpreter that `_become` carries out itself. With others that differ, a new one is needed."""


class Popen(subprocess.Popen[Any]):
    """As `subprocess.Popen`, but a command of `oa-dev` is forked."""

    def _execute_child(self, *handed: Any) -> None:
        if len(handed) != len(_HANDED) or (order := _order(dict(zip(_HANDED, handed, strict=True)))) is None:
            super()._execute_child(*handed)  # type: ignore[misc]
            return
        ends = handed[_HANDED.index("p2cread") : _HANDED.index("restore_signals")]
        streams = [own if given == -1 else given for own, given in enumerate((ends[0], ends[3], ends[5]))]
        self.pid = _nursery().fork(order, streams)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


def run(command: Sequence[str | bytes], **options: Any) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`, but a command of `oa-dev` is forked."""
    with forking():
        return subprocess.run(command, **options)


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Fork the processes of `oa-dev` that are started meanwhile, whether by `subprocess` or by asyncio."""
    with mock.patch.object(subprocess, "Popen", Popen):
        yield


def _order(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the nursery is told for a process; None where a new interpreter is needed."""
    words = [os.fsdecode(each) for each in asked["args"]] if isinstance(asked["args"], list | tuple) else []
    if words[:1] == [SCRIPT]:
        start, argv, more = os.path.dirname(SCRIPT), words, [SCRIPT]
    elif words[:3] == [sys.executable, "-c", INLINE]:
        start, argv, more = "", ["-c", *words[3:]], words[1:3]
    else:
        return None
    given = os.environ if asked["env"] is None else asked["env"]
    environ = {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}
    folder = os.getcwd() if asked["cwd"] is None else os.fspath(asked["cwd"])
    unusual = asked["preexec_fn"] or asked["pass_fds"] or asked["shell"] or asked["executable"] or asked["umask"] != -1
    owned = asked["gid"] is not None or asked["gids"] is not None or asked["uid"] is not None
    if unusual or owned or asked["process_group"] not in (None, -1) or not os.path.isdir(folder):
        return None
    if _of_interpreter(environ) != _of_interpreter(os.environ) or not _adopts():
        return None
    return {
        "argv": argv,
        "orig_argv": [sys.executable, *more, *argv[1:]],
        "path": start,
        "folder": str(folder),
        "environ": environ,
        "session": bool(asked["start_new_session"]),
    }


def _of_interpreter(environ: Mapping[str, str]) -> dict[str, str]:
    ruling = ("PYTHON", "LC_", "LANG", "TZ")
    return {name: value for name, value in environ.items() if name.startswith(ruling) and name not in _FREELY}


def _adopts(wanted: int = 0) -> bool:
    """Whether this system lets a process adopt what others have forked; with 1 this one does so from here on."""
    return sys.platform == "linux" and ctypes.CDLL(None).prctl(_SUBREAPER, wanted, 0, 0, 0) == 0


class _Nursery:
    """The process that forks, as its user sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair()
        code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import nursery; nursery.serve()"
        environ = {name: value for name, value in os.environ.items() if name not in _FREELY}
        with theirs:
            # In a session of its own: a network in the test's process ends only children of its session.
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=theirs, env=environ, start_new_session=True
            )

    def fork(self, order: Mapping[str, Any], streams: Sequence[int]) -> int:
        """The id of a new child of this process."""
        body = json.dumps(order).encode("ascii")
        with self._lock:
            _adopts(1)
            try:
                socket.send_fds(self._channel, [struct.pack("!I", len(body))], streams)
                self._channel.sendall(body)
                return int(struct.unpack("!I", self._channel.recv(4, socket.MSG_WAITALL))[0])
            finally:
                _adopts(0)


_made: list[_Nursery] = []


def _nursery() -> _Nursery:
    if not _made:
        _made.append(_Nursery())
    return _made[0]


# What follows runs in the process that forks, and in what it has forked.


def serve() -> None:
    """Fork a process for each order that comes through standard input, until that ends."""
    # What `oa-dev run` and the commands import; one call lets typer build what it keeps.
    from devserver.cli import commands, remote, serve  # noqa: F401
    from devserver.cli.app import parsed
    from devserver.config.network_yaml import parse_network
    from devserver.server import before, process_limits, server, supervisor  # noqa: F401
    from devserver.ui import capture  # noqa: F401

    with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):
        parsed(["status", "--help"])
    # The first reading has pydantic build its validators, half of the work of a start.
    parse_network("network: {name: Test, mods: []}")
    assert threading.active_count() == 1
    channel = socket.socket(fileno=os.dup(0))
    gc.collect()
    gc.freeze()
    while True:
        head, streams, _, _ = socket.recv_fds(channel, 4, 3)
        if not head:
            return
        order = json.loads(channel.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL))
        pid = _fork()
        if pid == 0:
            channel.detach()
            _become(order, streams)
            return
        for each in streams:
            os.close(each)
        channel.sendall(struct.pack("!I", pid))


def _fork() -> int:
    """Fork a process that this one is not the parent of; 0 in it, once it has its new parent, else its id."""
    told, tells = os.pipe()
    waits, goes = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid:
            os.write(tells, struct.pack("!I", pid))
            os._exit(0)
        os.close(goes)
        os.read(waits, 1)  # ends when the process that forks has closed its end
        return 0
    os.waitpid(between, 0)
    pid = int(struct.unpack("!I", os.read(told, 4))[0])
    for each in (told, tells, waits, goes):
        os.close(each)
    return pid


def _become(order: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be the process that was asked for, from the first line of the program to the exit of the interpreter."""
    for number, given in enumerate(streams):
        os.dup2(given, number)
    os.closerange(3, 1 << 16)
    if order["session"]:
        os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.argv, sys.orig_argv = order["argv"], order["orig_argv"]
    more = os.environ.get("PYTHONPATH", "")
    # The folder of the tests and that of `-c` stand in front.
    sys.path[:2] = [order["path"], *(more.split(os.pathsep) if more else ())]
    sys.stdin, sys.stdout, sys.stderr = (_stream(number) for number in range(3))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    if order["path"]:
        sys.modules["__main__"].__file__ = order["argv"][0]
    from devserver.cli import main

    if {"run", "join"} & set(sys.argv):
        main()
    else:
        _end_at_once(main)


def _end_at_once(main: Callable[[], None]) -> None:
    """Do what the interpreter does at its end, but for taking down all that the nursery has imported.

    That takes longer than most commands. Servers are taken down: their threads may still be about.
    """
    try:
        main()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            raise end from None  # the interpreter says so
        os._exit(end.code & 0xFF)


def _stream(number: int) -> Any:
    """A standard stream as the interpreter makes it."""
    kept = (sys.__stdin__, sys.__stdout__, sys.__stderr__)[number]
    raw = io.FileIO(number, "wb" if number else "rb", closefd=False)
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    inner: Any = raw if at_once and number else io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    by_line = number == 2 or raw.isatty()
    return io.TextIOWrapper(
        inner, encoding=kept.encoding, errors=kept.errors, line_buffering=by_line, write_through=at_once and number > 0
    )
