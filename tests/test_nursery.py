"""A forked `oa-dev` is what a new interpreter would have been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nursery import INLINE, SCRIPT, Popen, run


@pytest.mark.parametrize("command", [[SCRIPT], [sys.executable, "-c", INLINE]])
def test_a_forked_command_says_and_ends_as_one_of_a_new_interpreter(tmp_path: Path, command: list[str]) -> None:
    """In its folder, with its environment and its standard streams."""
    asked = [*command, "doctor", "--json"]
    environ = {**os.environ, "OA_DEV_PORT": "18123", "COLUMNS": "70"}
    forked, new = (
        call(asked, cwd=tmp_path, env=environ, capture_output=True, text=True) for call in (run, subprocess.run)
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)
    assert "18123" in forked.stdout


def test_a_forked_process_is_a_child_that_signals_end(tmp_path: Path) -> None:
    """Its parent is this process, which learns how it ended."""
    process = Popen([SCRIPT, "send", "-"], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[1]) == os.getpid()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.stdin is not None
    process.stdin.close()
