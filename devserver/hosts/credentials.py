"""Where the engine is and what proves us to it: a file, or the environment. Never arguments, never network.yaml.

A secret stands in no line of the log, no status and no list of processes.
"""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from devserver.errors import DevServerError
from devserver.model.names import LOCAL_NAMES
from devserver.transports.strict import Malformed, parse_object

VARIABLE = "OA_DEV_HOSTS_CREDS"
"""The text of a file of credentials, or its path."""

_MOST_BYTES = 64 * 1024
_LOCAL = frozenset({*LOCAL_NAMES, "::1"})


class BadCredentials(DevServerError):
    """Credentials, or the address of an engine, that cannot be used."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves a host to the engine of one network. `ca`: a file of authorities to trust beside the system's."""

    network: str
    user: str
    password: str = field(repr=False)
    ca: str = ""
    writer: Credentials | None = None
    """What proves the author where only it writes; None for every other host."""

    def text(self) -> str:
        """Return the file that `read` reads."""
        values = {"network": self.network, "user": self.user, "password": self.password}
        return json.dumps(values | ({"ca": self.ca} if self.ca else {}), indent=2) + "\n"


def read(path: Path | None) -> Credentials:
    """Return the credentials in a file, or OA_DEV_HOSTS_CREDS's. Raises BadCredentials."""
    given = os.environ.get(VARIABLE, "")
    if path is None and not given:
        raise BadCredentials(f"say what proves this host to the engine: --creds FILE, or {VARIABLE}")
    if path is None and given.lstrip().startswith("{"):
        return _parsed(given.encode(), VARIABLE)
    file = path or Path(given)
    try:
        raw = file.read_bytes()[:_MOST_BYTES]
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise BadCredentials(f"{file.name} can be read by other users: chmod 600 it")
    except OSError as error:
        raise BadCredentials(f"cannot read {file.name}: {error.strerror or error}") from error
    return _parsed(raw, file.name)


def _parsed(raw: bytes, name: str) -> Credentials:
    try:
        values = parse_object(raw)
    except Malformed as error:
        raise BadCredentials(f"{name} is not a file of credentials: {error}") from error
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    missing = [key for key in ("network", "user", "password") if not texts.get(key)]
    if missing:
        raise BadCredentials(f"{name} is not a file of credentials: it says nothing of {', '.join(missing)}")
    network, ca = texts["network"], texts.get("ca", "")
    user, password = texts.get("code_user"), texts.get("code_password")
    writer = Credentials(network, user, password, ca) if user and password else None
    return Credentials(network, texts["user"], texts["password"], ca, writer)


def checked_url(url: str) -> str:
    """Return the address of an engine. Raises BadCredentials for one that others can hear."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadCredentials(f"{url!r} is not the address of an engine: {error}") from error
    if parts.scheme not in ("nats", "tls") or not host or port is None:
        raise BadCredentials(f"{url!r} is not the address of an engine, as in tls://10.0.0.5:4222")
    if parts.username or parts.password:
        raise BadCredentials("an address holds no password: put it into a file, and name that with --creds")
    if parts.scheme == "nats" and host not in _LOCAL:
        raise BadCredentials(f"{url} is not of this machine, and nothing would be encrypted: use tls://{host}:{port}")
    return url


def tls_of(url: str, credentials: Credentials) -> ssl.SSLContext | None:
    """Return how to prove the engine, where its address asks for TLS. Raises BadCredentials."""
    if urlsplit(url).scheme != "tls":
        return None
    context = ssl.create_default_context()
    try:
        if credentials.ca:
            context.load_verify_locations(credentials.ca)
    except (OSError, ssl.SSLError) as error:
        raise BadCredentials(f"cannot use the authorities in {Path(credentials.ca).name}: {error}") from error
    return context
