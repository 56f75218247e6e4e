"""A command that is handed over does what it would do itself: in its folder, with its outputs, until an interrupt."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.server import hand_over as handing
from devserver.server.hand_over import hand_over

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a fork server needs Linux")

SERVER = '''\
"""Stands for a server: it has a fork server, tells where commands are handed over, and ends with its input."""

import json
import os
import sys
import time
from pathlib import Path

from devserver.server.aside import work
from devserver.server.fork_server import ForkServer
from devserver.server.runfile import write_run_file
from devserver.server.taken_over import Commands

here = Path.cwd()


def run(arguments):
    match arguments[0]:
        case "facts":
            umask = os.umask(0)
            facts = [os.getcwd(), umask, os.environ.get("VARIABLE"), os.getppid(), sys.argv, sys.stdout.isatty()]
            print(json.dumps(facts))
            print("said", file=sys.stderr)
            return 7
        case "fail":
            raise LookupError("there is none")
        case "wait":
            try:
                (here / "waits").touch()
                while not (here / "go on").exists():
                    time.sleep(0.01)
            except KeyboardInterrupt:
                (here / "taken back").touch()
                return 130
            return 0


def prepare():
    (here / "prepared").touch()
    raise OSError("as where there is no uv")


began = time.time() + 60 if sys.argv[1] == "current" else 0.0
forks = ForkServer.begin(work, began, None, lambda: Commands(run=run, prepare=prepare))
write_run_file(here, "http://127.0.0.1:1", "token", os.getpid(), commands=forks.commands)
print(forks.pid, flush=True)
sys.stdin.read()
forks.end()
'''
CLIENT = "import sys; from devserver.server.hand_over import hand_over; sys.exit(hand_over(sys.argv[1:]))"


class Served:
    """Such a server in a folder with a network.yaml."""

    def __init__(self, folder: Path, kind: str = "current") -> None:
        self.folder = folder
        (folder / "network.yaml").touch()
        (folder / "server.py").write_text(SERVER)
        self._process = subprocess.Popen(
            [sys.executable, "server.py", kind], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.forks = int(self._process.stdout.readline())
        self.run_file = folder / ".oa-dev" / "run.json"

    def begin(self, code: str = CLIENT) -> subprocess.Popen[bytes]:
        """A process that has handed a command over, which waits."""
        client = subprocess.Popen([sys.executable, "-c", code, "wait"], cwd=self.folder)
        self.until("waits")
        return client

    def until(self, name: str) -> None:
        while not (self.folder / name).exists():
            pass

    def end(self) -> None:
        self._process.communicate("")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Such a server; this process is in its folder."""
    found = Served(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield found
    found.end()


def test_a_command_is_carried_out_as_by_its_own_process(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Folder, umask, environment, arguments, outputs and exit code are its own, and a failure of ours is told."""
    below = served.folder / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.setenv("VARIABLE", "mine")
    before = os.umask(0o027)
    try:
        assert hand_over(["facts", "--json"]) == 7
    finally:
        os.umask(before)
    said = capfd.readouterr()
    assert json.loads(said.out) == [str(below), 0o027, "mine", served.forks, ["oa-dev", "facts", "--json"], False]
    assert said.err == "said\n"
    assert (served.folder / "prepared").exists()
    assert hand_over(["fail"]) == 1
    assert "LookupError: there is none" in capfd.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_is_taken_back(served: Served, how: signal.Signals) -> None:
    """Also where its process was killed: what has been begun is not left half done."""
    client = served.begin()
    client.send_signal(how)
    assert client.wait() == (130 if how is signal.SIGINT else -signal.SIGKILL)
    served.until("taken back")


INTERRUPTED_AT_ONCE = """
import os, signal, sys
from devserver.server import hand_over

class Line(hand_over.socket):
    def sendmsg(self, *what):
        super().sendmsg(*what)
        while not os.path.exists("waits"):
            pass
        os.kill(os.getpid(), signal.SIGINT)

hand_over.socket = Line
sys.exit(hand_over.hand_over(sys.argv[1:]))
"""


def test_a_command_that_is_interrupted_as_it_begins_is_taken_back(served: Served) -> None:
    """The fork may have begun before the process that sent the command has returned from sending it."""
    assert served.begin(INTERRUPTED_AT_ONCE).wait() == 130
    served.until("taken back")


def test_a_command_goes_on_when_the_server_ends(served: Served) -> None:
    """It may wait for a restart in place, after which there is another fork server."""
    client = served.begin()
    served.end()
    (served.folder / "go on").touch()
    assert client.wait() == 0


def test_where_a_fork_would_not_be_the_same_the_process_does_it_itself(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """For other code, variables that are read once, another secret, a run file that others may have read, none."""
    with monkeypatch.context() as other:
        other.setattr(handing, "code_of_commands", lambda: [sys.executable, "/elsewhere/devserver"])
        assert hand_over(["facts"]) is None
    with monkeypatch.context() as other:
        other.setenv("PYTHONUTF8", "1")
        assert hand_over(["facts"]) is None
    told: dict[str, Any] = json.loads(served.run_file.read_text())
    served.run_file.write_text(json.dumps({**told, "commands": {**told["commands"], "secret": "guessed"}}))
    assert hand_over(["facts"]) is None
    served.run_file.write_text(json.dumps({**told, "commands": None}))
    assert hand_over(["facts"]) is None
    served.run_file.write_text(json.dumps(told))
    served.run_file.chmod(0o644)
    assert hand_over(["facts"]) is None
    served.run_file.chmod(0o600)
    assert capfd.readouterr().out == ""
    assert hand_over(["facts"]) == 7
    served.end()
    assert hand_over(["facts"]) is None


def test_what_is_another_on_disk_carries_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command after an upgrade of oa-dev is the new one's."""
    served = Served(tmp_path, "stale")
    monkeypatch.chdir(tmp_path)
    try:
        assert hand_over(["facts"]) is None
    finally:
        served.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_of_the_machine_is_not_heard(served: Served) -> None:
    """The line ends without a word, whatever that user knows."""
    at = json.loads(served.run_file.read_text())["commands"]["at"]
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            line.settimeout(20)
            line.connect(b"\0" + at.encode())
            os._exit(0 if line.recv(16) == b"" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
