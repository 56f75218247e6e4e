"""A real `oa-dev run` in a process of its own, and blocking clients that send it exactly the bytes they are given.

For tests of attacks and faults: nothing here repairs, repeats or hides anything. What the server wrote to stderr is
looked through at its end (`invariants.log_faults`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml
from invariants import log_faults
from nursery import SCRIPT as OA_DEV
from nursery import Popen

PATIENCE = 60.0
"""Seconds after which a fact that was waited for is taken to be never coming."""

Json = dict[str, Any]


class Site:
    """A folder with network.yaml and mods, before and while a server runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mods: list[str | Json] = []
        self.dev: Json = {}
        self.settings: Json = {}

    def write(self, path: str, text: str) -> Path:
        """Write a file in one go, as careful editors do."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.swp")
        beside.write_text(dedent(text))
        os.replace(beside, file)
        return file

    def mod(self, name: str, *parts: str, head: str = "", listed: bool = True) -> Path:
        """Write the mod `mods.<name>`: `parts` are what stands in its class, `head` what stands before it."""
        if listed and f"mods.{name}" not in self.mods:
            self.mods.append(f"mods.{name}")
        imports = "import asyncio, os, time\nfrom devserver import BaseMod, Event, EventResponse, mod_event_handler\n"
        inside = "\n".join(f"    {line}" for part in parts for line in dedent(part).splitlines()) or "    pass"
        title = name.title().replace("_", "")
        return self.write(f"mods/{name}.py", f"{imports}{dedent(head)}\nclass {title}Mod(BaseMod):\n{inside}\n")

    def yaml(self) -> Path:
        """Write network.yaml as `mods`, `dev` and `settings` say."""
        entries = [{"name": each} if isinstance(each, str) else each for each in self.mods]
        values: Json = {"network": {"name": "Test", "mods": entries, **self.settings}}
        return self.write("network.yaml", yaml.safe_dump(values | ({"dev": self.dev} if self.dev else {})))


@dataclass(frozen=True)
class Answer:
    """What came back over a raw socket."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Json:
        """The body as an object."""
        values = json.loads(self.body)
        assert isinstance(values, dict)
        return values

    def header(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]


class Wire:
    """One raw connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def answer(self, *, bodiless: bool = False) -> Answer:
        """The next answer. Raises ConnectionError where the connection ends before it is whole."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        length = 0 if bodiless else int(dict(headers).get("content-length", "0"))
        return Answer(int(first.split()[1]), headers, self._exactly(length))

    def ended(self) -> bool:
        """Wait until the other side has ended the connection; False when something comes instead."""
        try:
            return self._rest == b"" and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """End it."""
        self.socket.close()

    def __del__(self) -> None:
        # A test that ends drops its connections as they are.
        with contextlib.suppress(AttributeError):
            self.socket.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._more()
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _exactly(self, length: int) -> bytes:
        while len(self._rest) < length:
            self._more()
        found, self._rest = self._rest[:length], self._rest[length:]
        return found

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server ended the connection")
        self._rest += data


class Live:
    """A server that runs. `lines` are the objects that it has told so far."""

    def __init__(self, site: Site, process: subprocess.Popen[bytes], errors: Path) -> None:
        self.site = site
        self.process = process
        self.lines: list[Json] = []
        self._errors = errors
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    # What it tells

    def told(self, kind: str, since: int = 0, **wanted: Any) -> list[Json]:
        """The lines of a type that say what is wanted."""
        return [x for x in self.lines[since:] if x["type"] == kind and all(x.get(k) == v for k, v in wanted.items())]

    def line(self, kind: str, since: int = 0, **wanted: Any) -> Json:
        """The first such line, waited for."""
        self.until(lambda: bool(self.told(kind, since, **wanted)) or not self._reader.is_alive())
        found = self.told(kind, since, **wanted)
        assert found, f"it never told {kind} {wanted}: {self.lines[since:]}\n{self.log()}"
        return found[0]

    def until(self, fact: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while not fact():
                self._news.wait(0.02)
                assert time.monotonic() < deadline, f"it never came to be: {self.lines[-20:]}\n{self.log()}"

    def mark(self) -> int:
        """A mark for `told`: from now on."""
        return len(self.lines)

    def log(self) -> str:
        """What it wrote to stderr."""
        return self._errors.read_text(errors="backslashreplace")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError), self.process.stdout as stdout:  # a test may close it
            for raw in stdout:
                with self._news:
                    self.lines.append(json.loads(raw))
                    self._news.notify_all()

    # Asking it

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.told("ready")[-1]["url"].rpartition(":")[2])

    @property
    def token(self) -> str:
        """This run's admin token, as the owner of the files may read it."""
        return str(json.loads((self.site.folder / ".oa-dev" / "run.json").read_text())["token"])

    def wire(self) -> Wire:
        """A new raw connection."""
        return Wire(self.port)

    def raw(self, request: bytes) -> Answer:
        """Send bytes over a connection of their own; @HOST@ in them stands for the server's own Host."""
        wire = self.wire()
        try:
            wire.send(request.replace(b"@HOST@", b"127.0.0.1:%d" % self.port))
            return wire.answer(bodiless=request.startswith(b"HEAD"))
        finally:
            wire.close()

    def request(self, method: str, path: str, values: Any = None, headers: Mapping[str, str] = {}) -> Answer:
        """A request as a decent client sends it, with more headers."""
        body = b"" if values is None else json.dumps(values).encode()
        sent = {"Host": f"127.0.0.1:{self.port}"}
        sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))} if values is not None else {}
        sent |= headers
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return self.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    def post(self, path: str, **values: Any) -> Json:
        """POST an object; the object that is answered."""
        return self.request("POST", path, values).json

    def control(self, path: str, **values: Any) -> Json:
        """Ask the control API as admin."""
        method = "GET" if path == "status" else "POST"
        body = None if method == "GET" else values
        return self.request(method, f"/_dev/{path}", body, {"Authorization": f"Bearer {self.token}"}).json

    def healthy(self) -> bool:
        """Whether it answers."""
        return self.request("GET", "/healthz").json == {"ok": True}

    def join(self, agent_id: str, *, trusted: bool = False, **values: Any) -> Agent:
        """Register an agent over HTTP, with the token of the run where it is `trusted`."""
        bearer = {"Authorization": f"Bearer {self.token}"} if trusted else {}
        answer = self.request("POST", "/api/register", {"agent_id": agent_id, **values}, bearer).json
        assert answer["success"], answer
        return Agent(self, agent_id, answer["secret"])

    def running(self) -> dict[str, int]:
        """The mods that run, with their generations."""
        return {each["mod_id"]: each["generation"] for each in self.control("status")["mods"]}

    def threads(self) -> int:
        """How many threads the process has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def watches(self) -> bool:
        """Whether it has begun to watch: the system's notifications have a descriptor of their own."""
        folder = f"/proc/{self.process.pid}/fd"
        return any("inotify" in _points_to(f"{folder}/{each}") for each in os.listdir(folder))

    def resident(self) -> int:
        """How many bytes of memory it has."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@dataclass(frozen=True)
class Agent:
    """A registered agent that polls over HTTP."""

    live: Live
    agent_id: str
    secret: str

    def send(self, event_name: str, payload: Any = None, to: str = "", **fields: Any) -> Json:
        """Send an event; its answer."""
        return self.try_send(event_name, payload, to, **fields).json

    def try_send(self, event_name: Any, payload: Any = None, to: Any = "", **fields: Any) -> Answer:
        """Send an event, perhaps a bad one; the whole answer."""
        values = {"event_name": event_name, "source_id": self.agent_id, "secret": self.secret, "payload": payload or {}}
        return self.live.request("POST", "/api/send_event", values | {"target_agent_id": to} | fields)

    def poll(self) -> list[Json]:
        """What waits for it, or the first event to come."""
        path = f"/api/poll?agent_id={self.agent_id}&secret={self.secret}"
        answer = self.live.request("GET", path).json
        assert answer["success"], answer
        messages: list[Json] = answer["messages"]
        return messages

    def taken(self) -> list[Json]:
        """What waits for it now."""
        return list(self.send("system.poll_messages")["data"]["messages"])


def environment() -> dict[str, str]:
    """The environment of a person at a terminal: bytecode is written, nothing of the test runner's leaks in."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "LINES")
    return {name: value for name, value in os.environ.items() if name not in left_out and "OA_DEV" not in name}


def start(
    site: Site, *arguments: str, wrapper: tuple[str, ...] = (), verb: tuple[str, ...] = ("run",), **options: Any
) -> Live:
    """Start a server; it may not be ready yet. `wrapper` is a command that runs the one after it."""
    errors = site.folder.with_name(f"{site.folder.name}.stderr")
    port = () if "--port" in arguments else ("--port", "0")
    command = [*wrapper, OA_DEV, *verb, "--json", *port, *arguments]
    with errors.open("ab") as stream:
        process = Popen(
            command,
            cwd=site.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            **options,
        )
    return Live(site, process, errors)


@contextlib.contextmanager
def serving(site: Site, *arguments: str, **options: Any) -> Iterator[Live]:
    """A server that is ready. At the end it must answer, stop cleanly when asked, and have no fault in its log."""
    site.yaml()
    live = start(site, *arguments, **options)
    try:
        live.line("ready")
        yield live
        assert live.healthy()
        assert (live.stop(), log_faults(live.log())) == (0, [])
    finally:
        if live.process.poll() is None:
            live.process.kill()
            live.process.wait()


def _points_to(link: str) -> str:
    """Where a symbolic link leads; nowhere when it has gone meanwhile."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""
