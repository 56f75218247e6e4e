"""What the other hosts of a network need of its network.yaml: all but the mods, the address, and what runs beside it.

Written by the author where only the author can write; on the other hosts it becomes their network.yaml.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from devserver.errors import DevServerError
from devserver.hosts.credentials import Credentials
from devserver.hosts.link import Link
from devserver.hosts.names import CODE, Names
from devserver.transports.strict import Malformed, parse_object

NETWORK = "network"
"""The key, in the bucket of code, of what is shared."""

_OWN = frozenset({"mods", "transports", "host", "port"})
_OF_DEV = frozenset({"grants", "limits", "max_body"})


class NotShared(DevServerError):
    """There is no network to join at an engine, or its settings cannot be read."""


def shared_settings(path: Path, network_id: str) -> Mapping[str, Any]:
    """Return the keys of a network.yaml that count on every host; the file was checked before."""
    tree = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    network = {key: value for key, value in tree["network"].items() if key not in _OWN}
    dev = {key: value for key, value in (tree.get("dev") or {}).items() if key in _OF_DEV}
    if isinstance(hosts := (tree.get("dev") or {}).get("hosts"), Mapping):
        # Each host has an engine address of its own.
        dev["hosts"] = {key: value for key, value in hosts.items() if key != "engine"}
    rest = {key: value for key, value in tree.items() if key not in ("network", "dev")}
    shared = {**rest, "network": {**network, "node_id": network_id, "mods": []}}
    return shared | ({"dev": dev} if dev else {})


def written(settings: Mapping[str, Any], author: str) -> str:
    """Return the network.yaml of a host that has joined. JSON is YAML, too."""
    head = f"# Written by oa-dev join: the settings of {author}, where they are changed. Changes here do not last.\n"
    return head + json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


async def fetch(url: str, credentials: Credentials, name: str) -> tuple[Mapping[str, Any], str]:
    """Return the network's settings at an engine, and its author. Raises NotShared, as `Link`."""
    names = Names(credentials.network)
    link = Link(url, credentials, name=name, reads_only=names.bucket_stream(CODE))
    await link.connect()
    try:
        found = await link.last_value(names.bucket_stream(CODE), names.key(CODE, NETWORK))
    finally:
        await link.close()
    if found is None:
        raise NotShared(f"no network is at {url} yet: start it there with oa-dev run --hosts")
    return settings_of(found.data)


def settings_of(data: bytes) -> tuple[Mapping[str, Any], str]:
    """Read what the author has written. Raises NotShared."""
    try:
        values = parse_object(data)
        settings, author = values["settings"], str(values["author"])
        if not isinstance(settings, dict):
            raise ValueError("its settings are not an object")
    except (Malformed, LookupError, ValueError) as error:
        raise NotShared(f"the settings of the network cannot be read: {error}") from error
    return settings, author


def join_folder(folder: Path, name: str) -> Path:
    """Return the workspace of a host that joins from `folder`."""
    return folder / ".oa-dev" / "joined" / name


def write_workspace(folder: Path, settings: Mapping[str, Any], author: str) -> Path:
    """Make the workspace of a host that joins; its network.yaml."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "network.yaml"
    text = written(settings, author)
    if not file.is_file() or file.read_text("utf-8") != text:
        beside = file.with_name(".network.yaml.new")
        beside.write_text(text, "utf-8")
        beside.replace(file)
    return file


def fetched(url: str, credentials: Credentials, name: str) -> tuple[Mapping[str, Any], str]:
    """As `fetch`, for a command that has no loop yet."""
    return asyncio.run(fetch(url, credentials, name))
