"""The command line's side of the control API: it shows its token only to a server that has proven to know it."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.cli.client import ANSWER_LIMIT, Client, NotRunning, ServerRefused, connect
from devserver.errors import DevServerError
from devserver.server.runfile import RunFile, write_run_file

TOKEN = "the-admin-token"


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers as the test says, and writes down what was asked."""

    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_GET(self) -> None:
        """A question without a body."""
        self._reply(b"")

    def do_POST(self) -> None:
        """A question with a body."""
        self._reply(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _reply(self, body: bytes) -> None:
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, data = self.server.answer(self.path, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


class FakeServer(http.server.ThreadingHTTPServer):
    """A server on a free port that proves the token unless told otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.replies: dict[str, tuple[int, bytes]] = {}

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """The reply of the test, or the proof."""
        if path in self.replies:
            return self.replies[path]
        if path == "/_dev/prove":
            nonce = json.loads(body)["nonce"]
            proof = hmac.new(TOKEN.encode(), nonce.encode(), hashlib.sha256).hexdigest()
            return 200, json.dumps({"proof": proof}).encode()
        return 404, b"{}"

    def found(self) -> RunFile:
        """What its run file would say."""
        return RunFile(self.url, TOKEN, os.getpid(), None)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that runs."""
    server = FakeServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_proven_server_gets_the_token_and_answers(server: FakeServer) -> None:
    """The proof comes first, without the token; every call after it carries the token."""
    server.replies["/_dev/status"] = (200, b'{"name": "team"}')
    assert Client(server.found()).status() == {"name": "team"}
    (_, first, proving, _), (_, second, calling, _) = server.asked
    assert (first, second) == ("/_dev/prove", "/_dev/status")
    assert "Authorization" not in proving
    assert calling["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "reply",
    [
        (200, b'{"proof": ""}'),
        (200, b'{"proof": null}'),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"hello"),
        (200, '{"proof": "\u00fc\\ud800"}'.encode()),
        (404, b"{}"),
        (500, b""),
        (301, b""),
    ],
)
def test_whoever_does_not_prove_the_token_never_sees_it(server: FakeServer, reply: tuple[int, bytes]) -> None:
    """A squatter on the port of a server that has ended learns nothing."""
    server.replies["/_dev/prove"] = reply
    with pytest.raises(NotRunning, match="not the server of this workspace"):
        Client(server.found())
    assert not any(TOKEN.encode() in body or TOKEN in str(headers) for _, _, headers, body in server.asked)


def test_each_proof_is_asked_for_with_another_nonce(server: FakeServer) -> None:
    """An old proof is worth nothing."""
    Client(server.found())
    Client(server.found())
    assert len({body for _, _, _, body in server.asked}) == 2


def test_no_proxy_is_ever_asked(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that name a proxy change nothing."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    Client(server.found())
    assert [path for _, path, _, _ in server.asked] == ["/_dev/prove"]


def test_a_post_carries_what_was_asked_for(server: FakeServer) -> None:
    """The body of a request is the object that was given, as JSON."""
    server.replies |= {"/_dev/reload": (200, b"{}"), "/_dev/send": (200, b"{}")}
    client = Client(server.found())
    client.post("reload", {"mods": ["kanban"]})
    client.post("send", {"event_name": "a.b"})
    assert [json.loads(body) for _, _, _, body in server.asked[1:]] == [{"mods": ["kanban"]}, {"event_name": "a.b"}]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((400, b'{"message": "mods is a list"}'), "mods is a list"),
        ((401, b'{"error": "unauthorized"}'), "unauthorized"),
        ((500, b""), "the server answered with HTTP 500"),
        ((503, b'{"message": 5}'), "the server answered with HTTP 503"),
        ((200, b"[]"), "the server's answer is not a JSON object"),
        ((200, b"[" * 100_000), "the server's answer is not a JSON object"),
        ((200, b'{"a":"' + b"x" * ANSWER_LIMIT + b'"}'), "the server's answer is not a JSON object"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_is_told_in_the_servers_words(server: FakeServer, reply: tuple[int, bytes], said: str) -> None:
    """Where the server gives a sentence that is the error, otherwise its status."""
    server.replies["/_dev/reload"] = reply
    with pytest.raises(ServerRefused) as refused:
        Client(server.found()).post("reload", {})
    assert (refused.value.status, str(refused.value)) == (reply[0], said)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://127.0.0.1:8700",
        "http://example.com:8700",
        "http://127.0.0.1.nip.io:80",
        "http://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://0.0.0.0:8700",
        "http://[::1",
        "file:///etc/passwd",
    ],
)
def test_only_a_server_on_this_machine_is_talked_to(url: str) -> None:
    """A run file that names anything but a loopback address over http is not followed."""
    with pytest.raises(NotRunning, match="the run file names"):
        Client(RunFile(url, TOKEN, 1, None))


def test_a_server_that_has_gone_is_named(server: FakeServer) -> None:
    """No one at the port is a sentence with the address."""
    server.server_close()
    with pytest.raises(NotRunning, match=server.url):
        Client(server.found())


def test_a_workspace_leads_to_its_server(server: FakeServer, tmp_path: Path) -> None:
    """The run file is all that a command needs."""
    write_run_file(tmp_path, server.url, TOKEN, os.getpid())
    server.replies["/_dev/status"] = (200, b"{}")
    assert connect(tmp_path).status() == {}


def test_a_workspace_without_a_server_says_what_was_looked_for(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(NotRunning, match="no oa-dev is running for"):
        connect(tmp_path)


def test_a_process_that_got_the_pid_later_is_not_the_server(server: FakeServer, tmp_path: Path) -> None:
    """A stale file is known by the start time in it, and nothing is sent anywhere."""
    path = write_run_file(tmp_path, server.url, TOKEN, os.getpid())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "1"}))
    with pytest.raises(NotRunning, match="has ended"):
        connect(tmp_path)
    assert server.asked == []


def test_a_file_that_others_can_read_is_not_used(server: FakeServer, tmp_path: Path) -> None:
    """Its token may be known, so nothing is sent anywhere."""
    write_run_file(tmp_path, server.url, TOKEN, os.getpid()).chmod(0o644)
    with pytest.raises(DevServerError, match="0600"):
        connect(tmp_path)
    assert server.asked == []
