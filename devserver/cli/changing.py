"""The arguments of the commands that change what comes from elsewhere, and which may be carried out in another process.

Imports nothing of ours: a command that is handed over takes a tenth of the time of one that is not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

Changed = tuple[str, list[str], set[str]]
"""The meaning of such arguments: the command, its names, and the chosen switches."""

_CHOICES = {"--json": "as_json", "--offline": "offline", "--yes": "yes", "-y": "yes"}
_UPDATE = _CHOICES | {"--now": "now", "--new-publisher": "new_publisher"}
_ADD = {"--build": "build", "--exactly": "exactly", "--from-index": "from_index"}
MARKET = {
    "add": _UPDATE | _ADD | {"--keep": "keep"},
    "update": _UPDATE | {"--keep": "keep"},
    "remove": _CHOICES,
    "sync": _UPDATE,
}
"""The commands, with the switches that are read here."""


def market_arguments(arguments: Sequence[str]) -> Changed | None:
    """Return such a command's meaning, or None if a parser has to look."""
    command, *rest = arguments or [""]
    switches = MARKET.get(command, {})
    names = [word for word in rest if word and not word.startswith("-")]
    chosen = {switches[word] for word in rest if word in switches}
    if not switches or len(names) + sum(word in switches for word in rest) < len(rest):
        return None
    # A parser says what is missing, or too much.
    misused = bool(names) if command == "sync" else not names and command != "update"
    return None if misused else (command, names, chosen)


def may_be_handed_over(arguments: Sequence[str]) -> bool:
    """Return whether a process without a keyboard can carry these arguments out as well."""
    changed = market_arguments(arguments)
    if sys.platform != "linux" or changed is None or "_OA_DEV_COMPLETE" in os.environ:
        return False
    command, names, chosen = changed
    # Git may ask for a password, and the build of others for anything.
    asks = any(each.startswith("git+") for each in names) or "build" in chosen
    return ("yes" in chosen or command == "remove") and not asks
