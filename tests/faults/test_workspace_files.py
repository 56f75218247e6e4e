"""Files of a workspace that never end, or hold what no text holds: at the start, and while a server runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from live import OA_DEV, PATIENCE, Site, serving
from nursery import run

ECHO = "@mod_event_handler('echo.say')\ndef say(self, event):\n    return EventResponse(True, '', {'v': %d})"

KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "NUL": lambda path: path.write_bytes(b"NAME=\0\0\0\n[tool]\0"),
    "loop": lambda path: path.symlink_to(path.name),
    "nothing to read": lambda path: (path.write_text("A=1\n"), path.chmod(0)),
}
SETTINGS = (".env", "pyproject.toml", "network.yaml")
IDENTITIES = ".oa-dev/identities.jsonl"


def put(path: Path, kind: str) -> None:
    """Put something in the place of a file."""
    take_away(path)
    KINDS[kind](path)


def take_away(path: Path) -> None:
    """Remove whatever is at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A network with one mod."""
    site = Site(tmp_path / "network")
    site.mod("echo", ECHO % 1)
    site.yaml()
    return site


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder", "NUL"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_start_with_it_ends_with_one_sentence(site: Site, name: str, kind: str) -> None:
    """It names the file; nothing hangs, and there is no trace."""
    if (name, kind) == ("pyproject.toml", "NUL"):
        # Of another tool's file nothing is read where it does not name this one.
        (site.folder / name).write_bytes(b"[tool.oa-dev]\0\n")
    else:
        put(site.folder / name, kind)
    done = run(
        [OA_DEV, "run", "--json", "--port", "0"], cwd=site.folder, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode not in (0, -9)
    assert name in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder", "NUL"])
def test_a_start_goes_on_without_what_it_can_do_without(site: Site, kind: str) -> None:
    """Identities and rules of git: agents of before are told to be lost, and the server serves."""
    (site.folder / ".oa-dev").mkdir(mode=0o700)
    for name in (IDENTITIES, ".gitignore"):
        put(site.folder / name, kind)
        (site.folder / name).chmod(0o600) if kind == "NUL" and name == IDENTITIES else None
    with serving(site) as live:
        assert live.join("ana").send("echo.say")["data"] == {"v": 1}
        site.mod("echo", ECHO % 2)
        live.line("outcome", status="applied")
        notices = [each["message"] for each in live.told("notice")]
        assert any("identities" in each or "earlier run" in each for each in notices), notices


def test_a_running_server_serves_whatever_becomes_of_the_files_beside_it(site: Site) -> None:
    """Each kind in each place; saves of the mod are applied in between, and no error of the server's own is told."""
    version = 1
    with serving(site) as live:
        ana = live.join("ana")
        text = (site.folder / "network.yaml").read_text()
        for kind in KINDS:
            for name in (*SETTINGS, ".gitignore", "README.md", "mods/words.txt"):
                put(site.folder / name, kind)
            version, since = version + 1, live.mark()
            site.mod("echo", ECHO % version)
            live.line("outcome", since, status="applied")
            assert ana.send("echo.say")["data"] == {"v": version}
            for name in (*SETTINGS, ".gitignore", "README.md", "mods/words.txt"):
                take_away(site.folder / name)
            site.write("network.yaml", text)
        assert live.request("GET", "/api/health").status == 200
        assert "Traceback" not in live.log() + str(live.lines)
