"""Runs the server in a process of its own, and again when it crashed: `oa-dev run --supervise`.

Crashed means ended by a signal, `os._exit` or a fault in native code. Holds the port meanwhile, so
that clients wait instead of being refused, and tells the next run which code ran. Reads no
configuration and imports no mod.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any

from devserver.server.runfile import process_began
from devserver.server.supervised import ENTRUSTED, PARTED, VARIABLE, Crash, Place, as_environment, describe, digest_of

MOST_CRASHES = 3
WITHIN_SECONDS = 30.0

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WAITED = frozenset({*_STOPS, signal.SIGCHLD})
_FROM_THE_KERNEL = 0x80
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in ', re.MULTILINE)
_MOST_WORDS = 256 * 1024
_PROGRAM = "from devserver.cli import main; main()"


def supported() -> bool:
    """Return whether this system supports supervision."""
    return hasattr(signal, "sigwaitinfo")


class Supervisor:
    """Arguments: `arguments`, those of `oa-dev` for the server; `tell`, told a sentence for people at each crash."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self._command = [sys.executable, "-c", _PROGRAM, *arguments]
        self._environ = environ
        self._tell = tell
        self._times: deque[float] = deque(maxlen=MOST_CRASHES)
        self._crashes: tuple[Crash, ...] = ()
        self._listening: socket.socket | None = None
        self._wanted = ""
        self._began: float | None = process_began()

    def run(self) -> int:
        """Run the server until it ends, is asked to, or crashed thrice in 30 s; return its code."""
        with _signals_held(), _terminal_kept() as restore_terminal, tempfile.TemporaryFile() as words:
            while True:
                began = time.time()
                code, parted, asked = self._run_once(words)
                if parted or asked:
                    return _as_exit_code(code)
                restore_terminal()
                if not self._goes_on(replace(_crash(code, words), began=began)):
                    return _as_exit_code(code)

    def _goes_on(self, crash: Crash) -> bool:
        """Note a crash; return whether the server is started again."""
        self._times.append(time.monotonic())
        # They travel in one variable of the environment, which has 128 KiB at most.
        self._crashes = (*self._crashes, replace(crash, places=crash.places[:20]))[-8:]
        at = f" at {crash.places[0].file}:{crash.places[0].line}" if crash.places else ""
        if len(self._times) == MOST_CRASHES and self._times[-1] - self._times[0] <= WITHIN_SECONDS:
            self._tell(f"the server crashed ({crash.how}){at}, {MOST_CRASHES} times in a row: giving up")
            return False
        self._tell(f"the server crashed ({crash.how}){at}: starting it again")
        return True

    def _run_once(self, words: IO[bytes]) -> tuple[int, bool, bool]:
        """Run the server once; return its exit code, whether its end was clean, and asked for."""
        os.ftruncate(words.fileno(), 0)
        os.lseek(words.fileno(), 0, os.SEEK_SET)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                child = self._start(theirs, words)
            asked = _wait(child)
            parted = self._heard(ours)
        return child.returncode, parted, asked

    def _start(self, line: socket.socket, words: IO[bytes]) -> subprocess.Popen[bytes]:
        handed: dict[str, Any] = {"line": line.fileno(), "words": words.fileno(), "began": self._began}
        self._began = None
        if self._listening is not None:
            handed |= {"listening": self._listening.fileno(), "wanted": self._wanted}
        return subprocess.Popen(
            self._command,
            env={**self._environ, VARIABLE: as_environment(handed, self._crashes)},
            pass_fds=[each for each in handed.values() if isinstance(each, int)],
            # Only this thread exists, so nothing can be locked in the child.
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED),
        )

    def _heard(self, line: socket.socket) -> bool:
        """Return the server's messages: its listening socket; whether its end was clean."""
        parted = False
        # A process that a mod has forked may hold the other end: all messages are there already.
        line.setblocking(False)
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(line, 1024, 1)
            except (ConnectionError, BlockingIOError):
                return parted
            if message.startswith(ENTRUSTED) and descriptors:
                listening = socket.socket(fileno=descriptors[0])
                if self._listening is not None:
                    self._listening.close()
                self._listening = listening
                self._wanted = message.removeprefix(ENTRUSTED).decode().strip()
            parted = parted or message == PARTED
            if not message:
                return parted


def _wait(child: subprocess.Popen[bytes]) -> bool:
    """Wait for the server's end and pass on signals; return whether one asked for the end."""
    asked = False
    while child.poll() is None:
        info = signal.sigwaitinfo(_WAITED)
        if info.si_signo == signal.SIGCHLD:
            continue
        # A Ctrl-C at a terminal has reached the server too: a second one would end it without its
        # clean-up. The loss of the terminal is told to the first process at it alone. Signals of
        # others may have reached it, if they signal the whole group: SIGHUP asks for the end
        # without insisting.
        if info.si_code != _FROM_THE_KERNEL or info.si_signo == signal.SIGHUP:
            child.send_signal(info.si_signo if asked else signal.SIGHUP)
        asked = True
    return asked


def _crash(code: int, words: IO[bytes]) -> Crash:
    text = os.pread(words.fileno(), _MOST_WORDS, 0).decode("utf-8", "replace")
    # The last line left is the cause of the end.
    last = text.rpartition("(most recent call first):")[2]
    places = [Place(file, int(line), digest_of(file)) for file, line in _FRAME.findall(last)]
    own = os.path.dirname(__file__) + os.sep
    return Crash(describe(code), tuple(each for each in places if not each.file.startswith((own, "<"))))


def _as_exit_code(code: int) -> int:
    """Return the code for a shell: 128 and the signal's number, if one has ended the server."""
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back until they are asked for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _terminal_kept() -> Iterator[Callable[[], None]]:
    """Return a function that restores the terminal's modes: a crashed server could not."""
    try:
        modes = termios.tcgetattr(sys.stdin.fileno())
    except (OSError, ValueError, termios.error):
        yield lambda: None
        return
    yield lambda: termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, modes)
