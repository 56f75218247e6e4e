"""The settings of a run and the source of each: flag, environment, `.env`, pyproject.toml, default.

`.env` and pyproject.toml are read from the folder of network.yaml alone. Changes nothing.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from devserver.config.regular import read_regular
from devserver.errors import DevServerError

ENV_FILE = ".env"
PYPROJECT = "pyproject.toml"
PREFIX = "OA_DEV_"
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("human", "json")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_READ_LIMIT = 1 << 20


class SettingError(DevServerError):
    """A setting that cannot be used; the text names its source."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `read` makes its value of a text or TOML value, or raises ValueError."""

    name: str
    default: Any
    read: Callable[[object], Any]
    what: str

    @property
    def variable(self) -> str:
        return f"{PREFIX}{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return f"--{self.key}"

    @property
    def key(self) -> str:
        """Its key in `[tool.oa-dev]`."""
        return self.name.replace("_", "-")


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("a text")
    return raw


def _names(raw: object) -> tuple[str, ...]:
    """Read names of hosts: a TOML list, or a text with commas or spaces between them."""
    listed = raw if isinstance(raw, list | tuple) else re.split(r"[,\s]+", raw.strip()) if isinstance(raw, str) else ()
    names = tuple(host_name(each) for each in listed)
    if not names:
        raise ValueError("a name, or several")
    return names


def _paths(raw: object) -> tuple[str, ...]:
    """Read paths: a TOML list, or a text with the system's separator between them."""
    listed = raw if isinstance(raw, list | tuple) else raw.split(os.pathsep) if isinstance(raw, str) else ()
    if not listed or not all(isinstance(each, str) and each.strip() for each in listed):
        raise ValueError("a path, or several")
    return tuple(listed)


def host_name(raw: object) -> str:
    """Read a host as requests name it: a name or address, perhaps a port. Raises ValueError."""
    name = raw.lower() if isinstance(raw, str) else ""
    if name.count(":") > 1 and not name.startswith("["):
        name = f"[{name}]"
    if _HOST.fullmatch(name) is None or name.partition(":")[0] == "0.0.0.0" or name.startswith("[::]"):
        raise ValueError("the name or address by which others know this machine, as in dev.example or 192.168.1.5")
    return name


def _whole(low: int, high: int, raw: object) -> int:
    text = raw if isinstance(raw, str) else "" if isinstance(raw, bool) else str(raw)
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not low <= int(text) <= high:
        raise ValueError(f"a whole number from {low} to {high}")
    return int(text)


def _truth(raw: object) -> bool:
    word = str(raw).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("true or false")
    return word in _TRUE


def _word(known: tuple[str, ...], raw: object) -> str:
    if str(raw).lower() not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return str(raw).lower()


_level, _format = partial(_word, LEVELS), partial(_word, FORMATS)

SETTINGS: tuple[Setting, ...] = (
    Setting("host", None, _text, "the address to listen on (default: that of network.yaml)"),
    Setting("allow_host", (), _names, "the hostnames that other machines may use to connect, with the join token"),
    Setting("port", None, partial(_whole, 0, 65535), "the port, 0 for any free one (default: that of network.yaml)"),
    Setting("strict_port", False, _truth, "exit with code 4 if the port is in use (default: use the next free one)"),
    Setting("keys", True, _truth, "read single keys from the terminal"),
    Setting("watch", True, _truth, "reload mods on save"),
    Setting("watch_paths", (), _paths, "folders outside of network.yaml's whose modules are reloaded, too"),
    Setting("poll", False, _truth, "poll for saves, if the system cannot notify of them"),
    Setting(
        "editor",
        None,
        _text,
        "the command for a file at a line, as in code -g {file}:{line} (default: VISUAL or EDITOR)",
    ),
    Setting("confirm", False, _truth, "show the plan of a changed network.yaml, and apply it only on request"),
    Setting("supervise", None, _truth, "restart the server after a crash (default: in a terminal)"),
    Setting("studio", None, _truth, "serve OpenAgents' Studio at /studio, as the installed package openagents has it"),
    Setting("log_level", "info", _level, "the log records to show; at info, those of libraries from warning on"),
    Setting("log_format", None, _format, "human or json (default: json if facts are JSON, human otherwise)"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A value and its source."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting by name, what `.env` adds, and the text of the files beside network.yaml."""

    found: Mapping[str, Found]
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes | None] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.found[name].value


def read_settings(folder: Path, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Read the settings of a run of the network in `folder`.

    Arguments: `flags`, by name, None for one that was not given; `environ`, the environment, which
    wins over `.env`. Raises SettingError for a value that cannot be used, and for an unknown key in
    `[tool.oa-dev]`.
    """
    files = {name: _read(folder / name) for name in (ENV_FILE, PYPROJECT)}
    written = dict(_assignments(files[ENV_FILE]))
    variables = {name: value for name, value in written.items() if name not in environ}
    table = _table(files[PYPROJECT])
    found = {each.name: _found(each, flags, environ, variables, table) for each in SETTINGS}
    return Settings(found, variables, files)


def changed_files(settings: Settings, folder: Path) -> dict[str, bytes | str | None]:
    """Return the files that settings were read from and that have changed, each with its content now, or with why it
    cannot be read."""
    now: dict[str, bytes | str | None] = {}
    for name in settings.files:
        try:
            now[name] = _read(folder / name)
        except SettingError as error:
            now[name] = str(error)
    return {name: content for name, content in now.items() if content != settings.files[name]}


def _found(
    setting: Setting,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    variables: Mapping[str, str],
    table: Mapping[str, Any],
) -> Found:
    given = flags.get(setting.name)
    if given is not None:
        # A flag that may be repeated gives a list, whose entries have been read as texts only.
        return Found(_value(setting, given, setting.flag) if isinstance(given, list) else given, setting.flag)
    name = setting.variable
    for values, key, source in ((environ, name, name), (variables, name, ENV_FILE), (table, setting.key, PYPROJECT)):
        # An empty variable counts as unset, as everywhere in a shell.
        if values.get(key, "") != "":
            return Found(_value(setting, values[key], f"{source}: {key}" if source != key else key), source)
    return Found(setting.default, "default")


def _value(setting: Setting, raw: object, place: str) -> Any:
    try:
        return setting.read(raw)
    except ValueError as wanted:
        raise SettingError(f"{place} is {wanted}, not {raw!r}") from None


def _read(path: Path) -> bytes | None:
    """Read a regular file; None if it is missing."""
    try:
        return read_regular(path, _READ_LIMIT)
    except OSError as error:
        raise SettingError(f"{path.name} cannot be read: {error.strerror}") from error


def _assignments(data: bytes | None) -> Iterator[tuple[str, str]]:
    """Return the assignments of `.env`: `NAME=value` a line, perhaps after `export`, perhaps in
    quotes; `#` begins a comment."""
    for number, line in enumerate((data or b"").decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parts = _ASSIGNMENT.fullmatch(text)
        if parts is None or "\0" in text:
            raise SettingError(f"{ENV_FILE}:{number} is not NAME=value")
        yield parts[1], _unquoted(parts[2])


def _unquoted(text: str) -> str:
    quote = text[:1]
    if quote in ("'", '"') and text.find(quote, 1) > 0:
        return text[1 : text.index(quote, 1)]
    return re.split(r"\s#", text, maxsplit=1)[0].strip()


def _table(data: bytes | None) -> Mapping[str, Any]:
    """Return `[tool.oa-dev]`."""
    if data is None or b"oa-dev" not in data:
        return {}
    # Here and not above: most workspaces have no such table.
    import tomllib

    try:
        tools = tomllib.loads(data.decode("utf-8")).get("tool", {})
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{PYPROJECT} cannot be read: {error}") from error
    table = tools.get("oa-dev", {}) if isinstance(tools, dict) else tools
    if not isinstance(table, dict):
        raise SettingError(f"{PYPROJECT}: [tool.oa-dev] is a table of settings, nothing else")
    keys = [each.key for each in SETTINGS]
    for key in table:
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(keys)}"
            raise SettingError(f"{PYPROJECT}: {key!r} is not a setting of [tool.oa-dev]{hint}")
    return dict(table)
