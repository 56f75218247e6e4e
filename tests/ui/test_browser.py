"""Which program opens an address, and where no one would see it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from devserver.ui.browser import browse, command_for

URL = "http://127.0.0.1:8700/_dev/#t=ticket"
SCREEN = {"DISPLAY": ":0"}


def on_path(*names: str):
    """A `which` that knows these programs."""
    return lambda name: f"/usr/bin/{name}" if name in names else None


@pytest.mark.parametrize(
    ("environ", "platform", "programs", "command"),
    [
        (SCREEN, "linux", ("xdg-open", "gio"), ["xdg-open", URL]),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", ("gio",), ["gio", "open", URL]),
        (SCREEN, "linux", ("lynx", "w3m"), None),
        ({}, "linux", ("xdg-open",), None),
        (SCREEN | {"SSH_CONNECTION": "a b c d"}, "linux", ("xdg-open",), None),
        ({}, "darwin", (), ["open", URL]),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", (), None),
        ({"BROWSER": "firefox --new-window"}, "linux", (), ["firefox", "--new-window", URL]),
        ({"BROWSER": "show %s now", "SSH_TTY": "x"}, "linux", (), ["show", URL, "now"]),
        ({"BROWSER": os.pathsep.join(("first", "second"))}, "linux", (), ["first", URL]),
        ({"BROWSER": "'unfinished"}, "linux", (), None),
    ],
)
def test_a_browser_is_chosen_only_where_somebody_sees_it(
    environ: dict[str, str], platform: str, programs: tuple[str, ...], command: list[str] | None
) -> None:
    """BROWSER wins; over ssh or without a screen there is none, and never one in the terminal itself."""
    assert command_for(URL, environ, platform, on_path(*programs)) == command


def test_the_browser_gets_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends well has opened it."""
    seen = tmp_path / "seen"
    monkeypatch.setenv("BROWSER", f'{sys.executable} -c \'import sys; open("{seen}", "w").write(sys.argv[1])\' %s')
    assert browse(URL)
    assert seen.read_text() == URL


@pytest.mark.parametrize("command", ["no-such-program-here", f"{sys.executable} -c 'raise SystemExit(4)'"])
def test_a_browser_that_is_not_there_or_fails_is_said(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the address is shown instead."""
    monkeypatch.setenv("BROWSER", command)
    assert not browse(URL)
