"""Opens an address in the browser of the person at this machine, never in the terminal itself.

Every user of the machine can read the arguments of a process: an address that is given here must
not contain a lasting credential.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

_OPENERS = ("xdg-open", "gio open", "x-www-browser", "wslview")
_PATIENCE = 3.0
"""Seconds after which the started process counts as the browser itself, and not as its launcher."""


def browse(url: str) -> bool:
    """Open an address; return whether that seems to have worked. Takes up to 3 s, never raises."""
    command = command_for(url, os.environ, sys.platform, shutil.which)
    if command is None:
        return False
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return child.wait(_PATIENCE) == 0
    except subprocess.TimeoutExpired:
        threading.Thread(target=child.wait, name="oa-dev browser", daemon=True).start()
        return True


def command_for(
    url: str, environ: Mapping[str, str], platform: str, which: Callable[[str], str | None]
) -> list[str] | None:
    """Return the command that opens an address; None over ssh or without a screen. BROWSER wins."""
    chosen = environ.get("BROWSER", "").split(os.pathsep)[0].strip()
    if chosen:
        return _chosen(chosen, url)
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return None
    if platform == "darwin":
        return ["open", url]
    if not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return None
    opener = next((each.split() for each in _OPENERS if which(each.split()[0])), None)
    return None if opener is None else [*opener, url]


def _chosen(command: str, url: str) -> list[str] | None:
    """Return the command in BROWSER; %s stands for the address, which else is at its end."""
    try:
        words = shlex.split(command)
    except ValueError:  # quotes that do not match: as if it were not set
        return None
    words = [each.replace("%s", url) for each in words]
    return words if url in " ".join(words) else [*words, url]
