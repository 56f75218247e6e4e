"""What happens to a terminal happens to a server at it: it is narrow, resized, pasted into, stopped, taken away."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import shutil
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pty import fork

import pytest
from live import OA_DEV, PATIENCE, Site, environment

HELLO = '@mod_event_handler("work.hello.get")\nasync def hello(self, event):\n    return {"version": %d}'
STEERING = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process in a terminal of its own, and what it shows, without colours."""

    def __init__(self, site: Site, *command: str, columns: int, term: str = "xterm") -> None:
        self.folder = site.folder
        self._raw = b""
        self._code: int | None = None
        self.pid, self.master = fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self.resize(columns, descriptor=0)
            os.chdir(site.folder)
            os.execvpe(command[0], command, environment() | {"TERM": term, "PS1": "prompt> "})

    @property
    def text(self) -> str:
        """Everything that was shown."""
        return STEERING.sub("", self._raw.decode(errors="replace"))

    def resize(self, columns: int, descriptor: int | None = None) -> None:
        """Give it another width."""
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.master if descriptor is None else descriptor, termios.TIOCSWINSZ, size)

    def type(self, data: bytes) -> None:
        """Type or paste, and read what is shown meanwhile."""
        os.set_blocking(self.master, False)
        while data:
            self._read(0)
            if select.select([], [self.master], [], PATIENCE)[1]:
                data = data[os.write(self.master, data[:4096]) :]
        os.set_blocking(self.master, True)

    def until(self, words: str, since: int = 0) -> int:
        """Read on until some words are shown; how much has been shown by then."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.text[since:].replace("\r\n", ""):
            assert time.monotonic() < deadline, f"waited for {words!r}, saw {self.text[-2000:]!r}"
            self._read(0.1)
        return len(self.text)

    def press_until(self, key: bytes, words: str, since: int) -> None:
        """Press a key, and again where it came too early to be one, until some words are shown."""
        while words not in self.text[since:]:
            self.type(key)
            self._read(0.2)

    def server(self) -> int:
        """The process that the run file names, once it is there."""
        file = self.folder / ".oa-dev" / "run.json"
        deadline = time.monotonic() + PATIENCE
        while not file.exists():
            assert time.monotonic() < deadline, self.text
            self._read(0.05)
        return int(json.loads(file.read_text())["pid"])

    def hang_up(self) -> None:
        """Take the terminal away."""
        os.close(self.master)
        self.master = -1

    def wait(self) -> int:
        """How the process ended."""
        if self._code is None:
            self._code = _ended(self.pid)
        return self._code

    def close(self) -> None:
        """End what still runs."""
        if self.master >= 0:
            self.hang_up()
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def _read(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self._raw += os.read(self.master, 1 << 16)
            except OSError:
                # The process has ended.
                time.sleep(seconds)


def _ended(pid: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while (found := os.waitpid(pid, os.WNOHANG))[0] == 0:
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(found[1])


@contextmanager
def at_terminal(site: Site, *arguments: str, columns: int = 100, term: str = "xterm") -> Iterator[Terminal]:
    """A server at a terminal, which is shown that it is ready."""
    site.mod("work", HELLO % 1)
    site.yaml()
    terminal = Terminal(site, OA_DEV, "run", "--port", "0", *arguments, columns=columns, term=term)
    try:
        terminal.until("ready in")
        terminal.server()
        yield terminal
    finally:
        terminal.close()


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("term", ["xterm", "dumb", ""])
def test_a_terminal_of_twenty_columns_shows_what_happens(site: Site, term: str) -> None:
    """The line of a reload comes, whatever the terminal can; no line of ours is longer than it has to be."""
    with at_terminal(site, columns=20, term=term) as terminal:
        shown = len(terminal.text)
        site.mod("work", HELLO % 2)
        terminal.until("work v2", shown)
        terminal.type(b"\x03")
        assert terminal.wait() == 0


def test_resizing_and_pasting_are_survived(site: Site) -> None:
    """A storm of new widths, and a megabyte of text with every key in it: afterwards keys are keys."""
    with at_terminal(site, "--no-supervise", columns=20) as terminal:
        for number in range(300):
            terminal.resize(10 + number % 150)
            if number % 50 == 0:
                terminal.type(b"\x1b[200~pasted\x1b[201~")
        terminal.type((b"what quick zebras make: " * 45_000)[: 1 << 20] + b"\n")
        shown = len(terminal.text)
        site.mod("work", HELLO % 2)
        terminal.until("work v2", shown)
        terminal.press_until(b"h", "r reload all", len(terminal.text))
        assert not gone(terminal.server())
        terminal.type(b"\x03")
        assert terminal.wait() == 0


@pytest.mark.parametrize("supervised", ["--supervise", "--no-supervise"])
def test_the_end_of_its_terminal_is_the_end_of_a_server(site: Site, supervised: str) -> None:
    """Nothing is left running that no one sees, and no run file."""
    with at_terminal(site, supervised) as terminal:
        server = terminal.server()
        terminal.hang_up()
        terminal.wait()
        assert gone(server)
        assert not (site.folder / ".oa-dev" / "run.json").exists()


@pytest.mark.parametrize("supervised", ["--supervise", "--no-supervise"])
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_a_server_that_is_stopped_and_continued_goes_on(site: Site, supervised: str) -> None:
    """Ctrl-Z gives the shell its terminal, fg gives the server its keys, and a save made meanwhile is served."""
    site.mod("work", HELLO % 1)
    site.yaml()
    shell = Terminal(site, "bash", "--norc", "--noprofile", "-i", columns=100)
    try:
        shell.type(f"{OA_DEV} run --port 0 {supervised}\n".encode())
        shell.until("press h for shortcuts")
        shell.type(b"\x1a")
        shell.until("Stopped")
        shell.type(b"echo in the $((40 + 2)) shell\n")
        shell.until("in the 42 shell")
        site.mod("work", HELLO % 2)
        shell.type(b"fg\n")
        shown = shell.until("work v2")
        shell.press_until(b"q", "prompt> ", shown)
        assert not (site.folder / ".oa-dev" / "run.json").exists()
    finally:
        shell.close()
