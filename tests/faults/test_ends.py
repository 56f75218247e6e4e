"""A stop ends everything, whatever became of `.oa-dev` meanwhile: no step that fails keeps the next from happening."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import websockets.sync.client as websocket
from live import PATIENCE, Site, start

from devserver.model.config import NetworkConfig
from devserver.network.agents import Directory
from devserver.server.workspace_files import WorkspaceFiles

SOMEBODY = 12345
"""The number of another user."""

ENDS = """
    def shutdown(self):
        with open("ended", "w") as file:
            file.write("yes")
"""


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


STATES: dict[str, Callable[[Path], object]] = {
    "readable by others": lambda folder: (folder / "run.json").chmod(0o644),
    "garbage": lambda folder: (folder / "run.json").write_bytes(b"\xff\x00{"),
    "empty": lambda folder: (folder / "run.json").write_bytes(b""),
    "a link": lambda folder: _replaced(folder / "run.json", lambda p: p.symlink_to("/etc/hostname")),
    "a broken link": lambda folder: _replaced(folder / "run.json", lambda p: p.symlink_to("nowhere")),
    "a folder": lambda folder: _replaced(folder / "run.json", Path.mkdir),
    "a FIFO": lambda folder: _replaced(folder / "run.json", os.mkfifo),
    "gone": lambda folder: (folder / "run.json").unlink(),
    "folder gone": shutil.rmtree,
    "folder a file": lambda folder: _replaced(folder, Path.touch),
    "folder a link": lambda folder: _replaced(folder, lambda p: p.symlink_to("/tmp")),
    "folder a broken link": lambda folder: _replaced(folder, lambda p: p.symlink_to("nowhere")),
    "folder a FIFO": lambda folder: _replaced(folder, os.mkfifo),
}
if os.geteuid() == 0:
    # No one else can give a folder away.
    STATES["folder another user's"] = lambda folder: os.chown(folder, SOMEBODY, SOMEBODY)


@pytest.mark.parametrize("state", STATES)
def test_the_files_end_in_every_state(tmp_path: Path, state: str) -> None:
    """No error comes out; the last identities are written where they can be, and no caller is kept waiting for them."""
    told: list[str] = []
    files = WorkspaceFiles(tmp_path, told.append)
    directory = Directory(NetworkConfig("Test"))
    files.begin(directory)
    files.announce("http://127.0.0.1:1", "token", "network.yaml", {})
    STATES[state](tmp_path / ".oa-dev")
    directory.register("ana", {})
    files.end()
    assert directory.on_change == []
    if not state.startswith("folder"):
        assert b'"ana"' in (tmp_path / ".oa-dev" / "identities.jsonl").read_bytes()


@pytest.mark.parametrize("state", ["readable by others", "a folder", "folder a link", "folder a file"])
def test_a_stop_ends_the_mods_in_every_state(tmp_path: Path, state: str) -> None:
    """Exit code 0, `shutdown()` was called, and `stopped` was told."""
    site = Site(tmp_path / "network")
    site.mod("ends", ENDS)
    site.yaml()
    live = start(site)
    try:
        live.line("ready")
        STATES[state](site.folder / ".oa-dev")
        assert live.healthy()
        assert live.stop() == 0
    finally:
        live.process.kill()
    assert (site.folder / "ended").read_text() == "yes"
    assert [each["mods"] for each in live.told("stopped")] == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_server_starts_beside_a_folder_of_another_user(tmp_path: Path) -> None:
    """It serves, says why commands cannot reach it, and leaves that folder alone."""
    site = Site(tmp_path / "network")
    site.mod("ends", ENDS)
    site.yaml()
    folder = site.folder / ".oa-dev"
    folder.mkdir(mode=0o700)
    os.chown(folder, SOMEBODY, SOMEBODY)
    live = start(site)
    try:
        live.line("ready")
        assert live.healthy()
        assert live.join("ana").secret
        assert live.stop() == 0
    finally:
        live.process.kill()
    assert any("belongs to another user" in each["message"] for each in live.told("notice"))
    assert (list(folder.iterdir()), folder.stat().st_uid) == ([], SOMEBODY)
    assert (site.folder / "ended").read_text() == "yes"


def test_a_socket_that_ends_is_one_line_and_a_stop_is_none_for_each(tmp_path: Path) -> None:
    """Agents go one by one while the server runs; with the server they go together."""
    site = Site(tmp_path / "network")
    site.mod("ends", ENDS)
    site.yaml()
    live = start(site)
    try:
        live.line("ready")
        with ExitStack() as stack:
            for number in range(3):
                line = stack.enter_context(websocket.connect(f"ws://127.0.0.1:{live.port}/ws"))
                line.send(json.dumps({"type": "register", "agent_id": f"a{number}"}))
                assert json.loads(line.recv(timeout=PATIENCE))["type"] == "registered"
                if number == 0:
                    line.close()
                    live.line("agent", agent_id="a0", came=False)
            assert live.stop() == 0
    finally:
        live.process.kill()
    told = [(each["agent_id"], each["came"]) for each in live.told("agent")]
    assert told == [("a0", True), ("a0", False), ("a1", True), ("a2", True)]
