"""The tutorial and the guide to replay are true: each command is run, each edit made, each shown line printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import devserver

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r'^```(console|diff)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Reader:
    """Someone who follows the page in one terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("OA_DEV", "PYTEST"))}
        self.environ |= {"PYTHONPATH": str(Path(devserver.__file__).parents[1]), "OA_DEV_PORT": "0"}

    def does(self, command: str) -> str:
        """Run one command; what it prints, on whichever stream."""
        program, *words = shlex.split(command)
        arguments = [
            found for each in words for found in (sorted(map(str, self.folder.glob(each))) if "*" in each else [each])
        ]
        if program == "cd":
            self.folder /= arguments[0]
            return ""
        assert program in ("oa-dev", "python"), command
        start = [sys.executable, "-m", "devserver"] if program == "oa-dev" else [sys.executable]
        done = subprocess.run(
            [*start, *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        if program == "python":
            assert done.returncode == 0, done.stdout
        return done.stdout + done.stderr

    def edits(self, file: str, diff: str) -> None:
        """Change a file as a diff shows, and let the server decide on it."""
        lines = diff.splitlines()
        old = "\n".join(each[1:] for each in lines if each.startswith("-"))
        new = "\n".join(each[1:] for each in lines if each.startswith("+"))
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} does not have: {old}"
        path.write_text(text.replace(old, new))
        self.does("oa-dev settle")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Leaves no server behind."""
    found = Reader(tmp_path)
    yield found
    found.does("oa-dev stop")


def plain(text: str) -> str:
    """A text as a pipe gets it, with the same number for every time."""
    for rich, ascii_ in (("·", "-"), ("→", "->")):
        text = text.replace(rich, ascii_)
    return re.sub(r"[0-9.,]+ (?:µs|ms|s)\b", "1 ms", text)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "least"), [("tutorial.md", 10), ("guides/replay.md", 5)])
def test_a_page_is_true_command_by_command(reader: Reader, page: str, least: int) -> None:
    """In its order, from an empty folder."""
    blocks = _BLOCK.findall((ROOT / "docs" / page).read_text())
    assert len(blocks) > least
    for kind, title, text in blocks:
        if kind == "diff":
            reader.edits(title, text)
            continue
        for command, _, shown in (part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]):
            told = reader.does(command)
            missing = [each for each in shown.splitlines() if plain(each) not in plain(told)]
            assert missing == [], f"$ {command}\n{told}"
