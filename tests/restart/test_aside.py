"""Work in a fresh process: a fork of the fork server where that is as good as a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FUNCTIONS = '''\
"""What is done aside."""

import os
import sys
import time


def facts(values, write):
    write({
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "folder": os.getcwd(),
        "variable": os.environ.get("VARIABLE"),
        "marked": hasattr(sys, "marked"),
        "open": sorted(int(each) for each in os.listdir("/proc/self/fd")),
    })
    sys.marked = True


def hang(values, write):
    write({"pid": os.getpid()})
    time.sleep(60)


def leave(values, write):
    print("no room", file=sys.stderr)
    os._exit(3)
'''

PROGRAM = '''\
"""Prints what work in fresh processes comes to, as one line of JSON."""

import json
import os
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import functions
from devserver.server.aside import Aside, do_aside, work
from devserver.server.fork_server import ForkServer

here, held = Path.cwd(), open(__file__)
forks = ForkServer.begin(work, time.time() + 60)
fork = Aside(patience=20, forks=forks, environ={**os.environ, "VARIABLE": "asked"})


def row(function, how):
    return do_aside(function, {}, here, how)


first, second = row(functions.facts, fork).rows[0], row(functions.facts, fork).rows[0]
ends = []
hanging = threading.Thread(target=row, args=(functions.hang, replace(fork, begun=ends.append)))
hanging.start()
while not ends:
    time.sleep(0.01)
ends[0]()
hanging.join()
late = row(functions.hang, replace(fork, patience=0.2))
stale = ForkServer.begin(work, 0.0) if threading.active_count() == 1 else None
print(json.dumps({
    "server": forks.pid,
    "held": held.fileno(),
    "first": first,
    "second": second,
    "late": asdict(late),
    "left": asdict(row(functions.leave, fork)),
    "fresh": row(functions.facts, replace(fork, forks=None)).rows[0],
    "stale": row(functions.facts, replace(fork, forks=stale)).rows[0],
    "other": row(functions.facts, replace(fork, environ={**os.environ, "PYTHONUTF8": "1"})).rows[0],
}))
'''


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program above has printed, and `folder`, in which it ran."""
    if sys.platform != "linux":
        pytest.skip("a fork server needs Linux")
    folder = tmp_path_factory.mktemp("aside")
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "program.py").write_text(PROGRAM)
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)}
    printed = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    return {**json.loads(printed.stdout), "folder": str(folder)}


def test_each_fork_is_a_fresh_process(seen: dict[str, Any]) -> None:
    """It has the folder and the environment that were asked for, and nothing of a fork before it."""
    first, second = seen["first"], seen["second"]
    assert (first["parent"], second["parent"]) == (seen["server"], seen["server"])
    assert first["pid"] != second["pid"]
    assert (first["folder"], first["variable"]) == (seen["folder"], "asked")
    assert not (first["marked"] or second["marked"])


def test_a_fork_has_nothing_of_the_server_s(seen: dict[str, Any]) -> None:
    """It has a session of its own and the descriptors of its work alone: no file, socket or terminal of the server."""
    assert seen["first"]["session"] == seen["server"]
    # Three for its work, three that every process has, and the one that lists them.
    assert len(seen["first"]["open"]) <= 7


def test_what_takes_too_long_is_ended(seen: dict[str, Any]) -> None:
    """What it has written until then counts, and the process is gone."""
    assert seen["late"]["code"] is None
    [row] = seen["late"]["rows"]
    while _runs(row["pid"]):
        pass


def test_how_a_fork_ended_is_told(seen: dict[str, Any]) -> None:
    """Its code, and the last line that it said of errors."""
    assert (seen["left"]["code"], seen["left"]["said"]) == (3, "no room")


@pytest.mark.parametrize("why", ["fresh", "stale", "other"])
def test_where_a_fork_would_not_be_the_same_an_interpreter_is_started(seen: dict[str, Any], why: str) -> None:
    """Without a fork server, where what it has imported is another on disk, or for variables that are read once."""
    assert seen[why]["parent"] != seen["server"]
    assert seen[why]["folder"] == seen["folder"]


def test_the_fork_server_ends_with_the_server(seen: dict[str, Any]) -> None:
    """The program has ended, and its fork server with it."""
    while _runs(seen["server"]):
        pass


def _runs(pid: int) -> bool:
    """Whether a process runs; one that only its parent has not looked at yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
