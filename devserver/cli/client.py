"""Finds the server that runs in a workspace and talks to it, for `oa-dev status`, `reload`, `send`…

The server proves that it knows the token before it is shown the token: another listener on that
port learns nothing. Only the standard library, only loopback, never through a proxy.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from devserver.cli.locate import workspace
from devserver.control.page_address import address
from devserver.errors import DevServerError
from devserver.model.names import is_loopback
from devserver.server.runfile import RunFile, is_running, read_run_file

ANSWER_LIMIT = 8 << 20
"""The most bytes of an answer that are read."""

HOLD_SECONDS = 20.0
"""The longest that a question about later events is held."""

_QUICK_SECONDS = 5.0
_WORK_SECONDS = 90.0
"""A reload may wait for handlers, for hooks and for other reloads before it."""


class NotRunning(DevServerError):
    """There is no server here to talk to."""


class ServerRefused(DevServerError):
    """The server answered with a refusal. `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """A proven server. Methods raise NotRunning without an answer, ServerRefused at a refusal."""

    def __init__(self, found: RunFile) -> None:
        self._found = found
        self._host, self._port = _address(found.url)
        self._prove()

    def get(self, path: str, *, quick: bool = False, **query: str) -> dict[str, Any]:
        """Get an answer of the control API: `path` follows `/_dev/`. A `quick` one does not wait for mods."""
        asked = f"/_dev/{path}?{urlencode(query)}" if query else f"/_dev/{path}"
        return self._call("GET", asked, None, _QUICK_SECONDS if quick else _WORK_SECONDS)

    def post(self, path: str, body: Mapping[str, Any], *, quick: bool = False) -> dict[str, Any]:
        """Post to the control API; as `get`."""
        return self._call("POST", f"/_dev/{path}", body, _QUICK_SECONDS if quick else _WORK_SECONDS)

    def status(self) -> dict[str, Any]:
        """Return the running network: the control API's `/_dev/status`."""
        return self.get("status", quick=True)

    def handlers(self) -> dict[str, Any]:
        """Return the handlers of each mod that runs: the control API's `/_dev/handlers`."""
        return self.get("handlers", quick=True)

    def reloads(self, after: int | None = None, seconds: float = HOLD_SECONDS) -> dict[str, Any]:
        """Wait for the results of the plans after number `after`, or return the latest number."""
        return self._held("/_dev/reloads", after, seconds)

    def reloads_after(self, number: int, seconds: float) -> list[dict[str, Any]]:
        """Wait for the results of plans after a number; none between two images of the server."""
        try:
            rows: list[dict[str, Any]] = self.reloads(number, seconds)["reloads"]
        except NotRunning:
            if not self.is_alive:
                raise
            time.sleep(0.05)
            return []
        return rows

    def settle(self, seconds: float = HOLD_SECONDS) -> dict[str, Any]:
        """Return whether the code on disk runs, or why not; not `settled` if it takes too long."""
        held = min(HOLD_SECONDS, seconds)
        return self._call("GET", f"/_dev/settle?seconds={held:.3f}", None, held + _WORK_SECONDS)

    def feed(self, after: int | None, seconds: float = HOLD_SECONDS, host: str = "") -> dict[str, Any]:
        """Wait for the rows of the events after a cursor, of this host or another; without it return the latest
        cursor, and the columns."""
        return self._held("/_dev/feed", after, seconds, only="rows", **of_host(host))

    @property
    def is_alive(self) -> bool:
        """Return whether the process still runs; between two images of it no server answers."""
        return is_running(self._found)

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._found.url

    @property
    def network(self) -> str:
        """The name of the file in the workspace that the server runs."""
        return self._found.network

    @property
    def page(self) -> str:
        """The address of the page, with the token that lets a browser in: for this user alone."""
        return address(self._found.url, self._found.token)

    def _held(self, path: str, after: int | None, seconds: float, **query: str) -> dict[str, Any]:
        wanted = query if after is None else query | {"after": str(after), "seconds": f"{min(seconds, HOLD_SECONDS):f}"}
        return self._call("GET", f"{path}?{urlencode(wanted)}", None, HOLD_SECONDS + _QUICK_SECONDS)

    def _prove(self) -> None:
        nonce = secrets.token_hex(32)
        expected = hmac.new(self._found.token.encode(), nonce.encode(), hashlib.sha256).hexdigest()
        try:
            proof = self._request("POST", "/_dev/prove", {"nonce": nonce}, {}, _QUICK_SECONDS).get("proof")
        except ServerRefused:
            proof = None
        if not hmac.compare_digest(str(proof).encode("utf-8", "replace"), expected.encode()):
            raise NotRunning(f"what answers at {self._found.url} is not the server of this workspace")

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        return self._request(method, path, body, {"Authorization": f"Bearer {self._found.token}"}, seconds)

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: dict[str, str], seconds: float
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        sent = headers | ({"Content-Type": "application/json"} if data is not None else {})
        connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return _answer(response.status, response.read(ANSWER_LIMIT))
        except TimeoutError as error:
            raise NotRunning(f"the server at {self._found.url} did not answer within {seconds:.0f} s") from error
        except (ConnectionResetError, http.client.RemoteDisconnected) as error:
            # It had taken the question, so it was there.
            raise NotRunning(f"the server at {self._found.url} ended before it answered") from error
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(f"the server at {self._found.url} does not answer: {error}") from error
        finally:
            connection.close()


def connect(workspace: Path) -> Client:
    """Return the server of a workspace, proven. Raises NotRunning if none runs, and DevServerError
    for a run file that cannot be believed."""
    found = read_run_file(workspace)
    if found is None:
        raise NotRunning(f"no oa-dev is running for {workspace}; start one with: oa-dev run")
    if not is_running(found):
        raise NotRunning(
            f"no oa-dev is running for {workspace}: the one with pid {found.pid} has ended; start one with: oa-dev run"
        )
    return Client(found)


def server_here() -> Client:
    """Return the server of the network that commands here are about. Raises as `connect`."""
    return connect(workspace())


def of_host(host: str) -> dict[str, str]:
    return {"host": host} if host else {}


def _address(url: str) -> tuple[str, int]:
    """Return host and port of a server on this machine. Raises NotRunning for any other address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise NotRunning(f"the run file names no address: {error}") from error
    if parts.scheme != "http" or port is None or not is_loopback(host):
        raise NotRunning(f"the run file names {url!r}, which is not a server on this machine")
    return host, port


def _answer(status: int, data: bytes) -> dict[str, Any]:
    """Return the object in an answer. Raises ServerRefused for other statuses and values."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        values = None
    if status != http.HTTPStatus.OK:
        raise ServerRefused(status, _said(status, values))
    if not isinstance(values, dict):
        raise ServerRefused(status, "the server's answer is not a JSON object")
    return values


def _said(status: int, values: object) -> str:
    """Return the sentence in a refusal, or its status without one."""
    if isinstance(values, dict):
        for name in ("message", "error", "detail"):
            if isinstance(values.get(name), str):
                return str(values[name])
    return f"the server answered with HTTP {status}"
