"""What is locked and from where: the first index wins, other bytes are refused, a killed process leaves a pair."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from locked_wheels import make_mod_wheel, make_wheel, mod_source

from devserver.config.network_yaml import parse_network
from devserver.errors import DevServerError
from devserver.market import sync
from devserver.market.catalogue import find
from devserver.market.folder import NotInstalled, find_installed
from devserver.market.lock import NAME, Lock, read_lock
from devserver.market.package import PackageRefused
from devserver.market.places import Ask, catalogues_of, fetched
from devserver.market.releases import Attested, BadAttestation, OtherPublisher, releases_of
from devserver.market.sync import Files, NothingSuits, OtherContents, Ready
from devserver.market.uv import UvFailed
from devserver.market.wants import Listed, Needing, Wants
from devserver.reload.wanted import wants_of

MODS = {"board": {"board/__init__.py": mod_source("board", "{v}")}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package may come from what this machine has fetched before."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "uv-cache"))


def wants(*listed: Listed, **more: object) -> Wants:
    """Wants from the folder index alone, where nothing else is said."""
    values = {"indexes": ("mods-index",), "packages": "none", **more}
    return Wants(listed=tuple(listed), **values)  # type: ignore[arg-type]


def brought(workspace: Path, wanted: Wants, **options: object) -> Ready:
    """What sync does, without a question."""
    files = Files()
    ready = sync.install(sync.resolve(workspace, wanted, **options), taken={}, origins={})  # type: ignore[arg-type]
    sync.write_lock(ready, files)
    return ready


@pytest.fixture
def public(tmp_path: Path) -> Iterator[str]:
    """A simple index on loopback, as others run one: the address."""
    folder = tmp_path / "public"
    folder.mkdir()
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pypiserver", "run", "-p", str(port), "-i", "127.0.0.1", "-P", ".", "-a", "."]
    server = subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/simple/", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None
        yield f"http://127.0.0.1:{port}/simple/"
    finally:
        server.kill()
        server.wait()


def test_the_first_index_that_has_a_name_has_it(tmp_path: Path, public: str) -> None:
    """A newer package of the same name elsewhere is not taken: asked for itself, and needed by another one."""
    make_mod_wheel(tmp_path / "mods-index", "board", "0.3.0")
    make_mod_wheel(tmp_path / "public", "board", "1.0")
    make_mod_wheel(tmp_path / "public", "report", "1.0", requires=["board"])
    both = {"indexes": ("mods-index", public), "cooldown": 3 * 86_400.0}
    direct = brought(tmp_path, wants(Listed("board", "board"), **both))
    assert direct.lock.versions == {"board": "0.3.0"}
    (tmp_path / NAME).unlink()
    transitive = brought(tmp_path, wants(Listed("report", "report"), **both))
    assert transitive.lock.versions == {"board": "0.3.0", "report": "1.0"}
    assert "mods-index/board-0.3.0" in (tmp_path / NAME).read_text()


def test_what_is_locked_does_not_move_by_itself(tmp_path: Path) -> None:
    """A newer version waits until it is asked for, by its name or with all others."""
    for name in ("board", "polls"):
        make_mod_wheel(tmp_path / "mods-index", name, "1.0")
    wanted = wants(Listed("board", "board"), Listed("polls", "polls"))
    brought(tmp_path, wanted)
    for name in ("board", "polls"):
        make_mod_wheel(tmp_path / "mods-index", name, "1.1")
    assert brought(tmp_path, wanted).resolved.same
    assert brought(tmp_path, wanted, upgrade=["polls"]).lock.versions == {"board": "1.0", "polls": "1.1"}
    assert brought(tmp_path, wanted, everything=True).lock.versions == {"board": "1.1", "polls": "1.1"}


def test_what_is_needed_no_more_goes(tmp_path: Path) -> None:
    """With the mod that needed it."""
    make_wheel(tmp_path / "mods-index", "odd-texts", "1.0", {"odd_texts.py": ""})
    make_mod_wheel(tmp_path / "mods-index", "board", "1.0", requires=["odd-texts>=1"])
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    both = brought(tmp_path, wants(Listed("board", "board"), Listed("polls", "polls")))
    assert sorted(both.lock.versions) == ["board", "odd-texts", "polls"]
    assert sorted(brought(tmp_path, wants(Listed("polls", "polls"))).lock.versions) == ["polls"]


def test_other_bytes_under_a_locked_version_are_refused(tmp_path: Path) -> None:
    """Both hashes are said, and the lock stays; asking for an update of it takes them."""
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    wanted = wants(Listed("polls", "polls"))
    brought(tmp_path, wanted)
    before = (tmp_path / NAME).read_bytes()
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0", mod_source("polls", "other"))
    with pytest.raises(OtherContents, match=r"polls 1.0 is not what was locked: sha256 \w{8}… expected, \w{8}… found"):
        brought(tmp_path, wants(Listed("polls", "polls"), cooldown=1.0), everything=False, upgrade=())
    assert (tmp_path / NAME).read_bytes() == before
    assert brought(tmp_path, wanted, upgrade=["polls"]).resolved.moved


def test_a_wheel_that_was_swapped_after_it_was_locked_is_not_extracted(tmp_path: Path) -> None:
    """A clone installs from the lock: what lies in the folder has to be what it names."""
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    resolved = sync.resolve(tmp_path, wants(Listed("polls", "polls")))
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0", mod_source("polls", "swapped"))
    with pytest.raises(OtherContents, match="nothing was installed"):
        sync.install(resolved, taken={}, origins={})
    assert not list((tmp_path / ".oa-dev" / "env").iterdir())


def test_only_wheels_are_installed(tmp_path: Path) -> None:
    """A source distribution would run code of others to be built."""
    folder = tmp_path / "mods-index"
    folder.mkdir()
    (folder / "polls-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(NothingSuits) as refused:
        sync.resolve(tmp_path, wants(Listed("polls", "polls", line=7)))
    assert "network.yaml needs polls (network.yaml:7)" in refused.value.why.sentence


@pytest.mark.parametrize("name", ["yaml", "mods", "json", "board"])
def test_a_name_that_is_taken_is_not_brought(tmp_path: Path, name: str) -> None:
    """Of the server, of the workspace, of Python, of another package: nothing is installed."""
    make_wheel(tmp_path / "mods-index", "sly", "1.0", {"sly.py": "", f"{name}/__init__.py": ""}, mods=["sly"])
    make_wheel(tmp_path / "mods-index", "board", "1.0", {"board/__init__.py": ""}, mods=["board"])
    resolved = sync.resolve(tmp_path, wants(Listed("sly", "sly"), Listed("board", "board")))
    with pytest.raises(PackageRefused, match=f"would shadow {name}"):
        sync.install(resolved, taken={"yaml": "oa-dev itself uses"}, origins={})
    assert not list((tmp_path / ".oa-dev" / "env").iterdir())


def test_nothing_of_a_package_runs_while_it_is_brought(tmp_path: Path) -> None:
    """Neither its modules nor a .pth file nor what it would run when Python starts."""
    ran = tmp_path / "ran"
    source = f"open({str(ran)!r}, 'w')\n"
    files = {"polls/__init__.py": source, "polls.pth": f"import polls; {source}", "sitecustomize.py": source}
    make_wheel(tmp_path / "mods-index", "polls", "1.0", files, mods=["polls"])
    ready = brought(tmp_path, wants(Listed("polls", "polls")))
    assert ready.lock.mods == {"polls": "polls"}
    assert not ran.exists()


def test_requirements_that_name_an_address_are_refused(tmp_path: Path) -> None:
    """A mod of the workspace could fetch from anywhere with one."""
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    needing = (
        Needing("mods.search", "1", ("polls @ https://evil.test/polls-1.0-py3-none-any.whl",), "mods/search.py:2"),
    )
    with pytest.raises(DevServerError, match="names an address"):
        sync.resolve(tmp_path, wants(needing=needing))


class _Garbage(BaseHTTPRequestHandler):
    """Answers everything with a page for people."""

    def do_GET(self) -> None:
        body = b"<html><body>Please log in</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.parametrize("kind", ["down", "html", "hangs"])
def test_an_index_that_does_not_answer_as_one_is_said(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bounded time, and the lock stays."""
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    (tmp_path / "mods-index").mkdir()
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        page = HTTPServer(("127.0.0.1", 0), _Garbage)
        threading.Thread(target=page.serve_forever, daemon=True).start()
        if kind == "hangs":
            silent.listen()
        port = page.server_address[1] if kind == "html" else port
        try:
            with pytest.raises((UvFailed, NothingSuits)) as refused:
                brought(
                    tmp_path,
                    wants(Listed("polls", "polls", line=3), indexes=("mods-index", f"http://127.0.0.1:{port}/simple/")),
                )
        finally:
            page.shutdown()
            page.server_close()
    assert kind == "html" or f"127.0.0.1:{port}" in str(refused.value)
    assert not (tmp_path / NAME).exists()


class _Dated(BaseHTTPRequestHandler):
    """A simple index in JSON, which says since when each file is there, and by which repository it was published.

    `folder`, `dates` and `repositories` are set by the test.
    """

    folder: Path
    dates: dict[str, str]
    repositories: dict[str, str]

    def do_GET(self) -> None:
        name = self.path.rstrip("/").rpartition("/")[2]
        if name in self.repositories:
            publisher = {"kind": "GitHub", "repository": self.repositories[name], "workflow": "release.yml"}
            bundles = [{"publisher": publisher, "attestations": ["signed"]}]
            self._answer(json.dumps({"version": 1, "attestation_bundles": bundles}).encode(), "application/json")
            return
        if name.endswith(".whl"):
            self._answer((self.folder / name).read_bytes(), "application/octet-stream")
            return
        rows = [
            {
                "filename": each.name,
                "url": f"/files/{each.name}",
                "hashes": {"sha256": hashlib.sha256(each.read_bytes()).hexdigest()},
                "upload-time": self.dates[each.name],
                "provenance": f"/provenance/{each.name}.json" if f"{each.name}.json" in self.repositories else None,
            }
            for each in sorted(self.folder.glob(f"{name}-*.whl"))
        ]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": rows, "versions": []}
        self._answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def served(folder: Path, dates: dict[str, str], repositories: dict[str, str] | None = None) -> Iterator[str]:
    """The address of such an index."""
    handler = type("Served", (_Dated,), {"folder": folder, "dates": dates, "repositories": repositories or {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
    finally:
        server.shutdown()
        server.server_close()


def test_a_release_of_another_publisher_is_refused(tmp_path: Path) -> None:
    """So is one of none, where the locked one was attested; a person who says so takes it."""
    folder, long_ago = tmp_path / "remote", "2020-01-01T00:00:00Z"
    first = make_mod_wheel(folder, "polls", "1.0")
    dates, repositories = {first.name: long_ago}, {f"{first.name}.json": "acme/polls"}
    with served(folder, dates, repositories) as index:
        wanted = wants(Listed("polls", "polls"), indexes=(index,))
        brought(tmp_path, wanted)
        locked = (tmp_path / NAME).read_bytes()
        assert read_lock(locked).facts.publishers == {"polls": "github:acme/polls"}
        second = make_mod_wheel(folder, "polls", "2.0")
        dates[second.name] = long_ago
        with pytest.raises(OtherPublisher, match=r"1\.0 came from github:acme/polls, 2\.0 from an unnamed publisher"):
            sync.resolve(tmp_path, wanted, everything=True)
        repositories[f"{second.name}.json"] = "evil/polls"
        with pytest.raises(OtherPublisher, match=r"2\.0 from github:evil/polls; --new-publisher takes it"):
            sync.resolve(tmp_path, wanted, upgrade=["polls"])
        assert (tmp_path / NAME).read_bytes() == locked
        ready = brought(tmp_path, wanted, upgrade=["polls"], new_publisher=True)
        assert (ready.lock.versions, ready.lock.facts.publishers) == ({"polls": "2.0"}, {"polls": "github:evil/polls"})
        assert brought(tmp_path, wanted, everything=True, offline=True).lock.facts.publishers


class Verifier(ModuleType):
    """What stands for `pypi_attestations`, which not every machine has: it knows one signature of one file."""

    class AttestationError(ValueError):
        """As it raises it."""

    def __init__(self, digest: str) -> None:
        super().__init__("pypi_attestations")
        self.digest, self.Distribution, self.Provenance = digest, SimpleNamespace, self

    def model_validate_json(self, data: bytes) -> Any:
        bundles = [
            {**each, "attestations": [self] * len(each["attestations"])}
            for each in json.loads(data)["attestation_bundles"]
        ]
        return SimpleNamespace(attestation_bundles=[SimpleNamespace(**each) for each in bundles])

    def verify(self, publisher: Any, distribution: Any, *, offline: bool) -> None:
        assert offline and publisher["kind"] == "GitHub"
        if (distribution.name, distribution.digest) != ("polls-1.0-py3-none-any.whl", self.digest):
            raise self.AttestationError("subject does not match distribution digest")


def test_signatures_are_verified_where_a_verifier_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose signature is of another file, or that has none, is refused; without a verifier that is said."""
    monkeypatch.setitem(sys.modules, "pypi_attestations", None)
    folder = tmp_path / "remote"
    wheels = [make_mod_wheel(folder, "polls", each) for each in ("1.0", "2.0")]
    dates = {each.name: "2020-01-01T00:00:00Z" for each in wheels}
    with served(folder, dates, {f"{each.name}.json": "acme/polls" for each in wheels}) as index:
        first, second = releases_of((index,), "polls")
        assert first.attested() == Attested("github:acme/polls", is_verified=False)
        monkeypatch.setitem(sys.modules, "pypi_attestations", Verifier(first.sha256))
        assert first.attested() == Attested("github:acme/polls", is_verified=True)
        with pytest.raises(BadAttestation, match=r"signatures of polls-2\.0-py3-none-any\.whl do not hold \(subject"):
            second.attested()
        monkeypatch.setattr(Verifier, "model_validate_json", lambda self, data: SimpleNamespace(attestation_bundles=[]))
        with pytest.raises(BadAttestation, match="a publisher and no signature"):
            first.attested()


def test_a_release_that_is_too_young_is_not_taken(tmp_path: Path) -> None:
    """The newest one that is old enough is, and that is said; `--now` takes the young one."""
    folder = tmp_path / "remote"
    old, young = (make_mod_wheel(folder, "polls", version) for version in ("1.0", "2.0"))
    made = (datetime.now(UTC) - timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with served(folder, {old.name: "2020-01-01T00:00:00Z", young.name: made}) as index:
        wanted = wants(Listed("polls", "polls"), indexes=(index,), cooldown=86_400.0)
        ready = brought(tmp_path, wanted)
        assert ready.lock.versions == {"polls": "1.0"}
        assert ready.resolved.young == ("polls 2.0 is 4 hours old; --now takes it",)
        assert brought(tmp_path, wanted, everything=True).resolved.same
        copied = sync.vendor(ready.lock, tmp_path / "mods-index", fetched, Files())
        assert [each.read_bytes() for each in copied] == [old.read_bytes()]
        assert brought(tmp_path, wanted, everything=True, now=True).lock.versions == {"polls": "2.0"}
        (tmp_path / NAME).unlink()
        old.unlink()
        with pytest.raises(UvFailed, match=r"what is too new: polls 2\.0 is 4 hours old; --now takes it"):
            sync.resolve(tmp_path, wanted)


STEPS = (
    "devserver.market.uv.resolve",
    "devserver.market.uv.install",
    "devserver.market.folder.mods_in",
    "devserver.market.folder.write_record",
    "devserver.market.sync.write_lock",
    "devserver.market.sync.Files.write",
)
KILLED = """
    import os, signal, sys
    from pathlib import Path
    from devserver.market import folder, sync, uv
    from devserver.market.wants import Listed, Wants

    step, after = sys.argv[1], sys.argv[2] == "after"
    owner, name = step.rsplit(".", 1)
    found = {"devserver.market.uv": uv, "devserver.market.folder": folder, "devserver.market.sync": sync,
             "devserver.market.sync.Files": sync.Files}[owner]
    real = getattr(found, name)

    def die(*arguments, **named):
        if not after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(found, name, die)
    wants = Wants(listed=(Listed("polls", "polls"),), indexes=("mods-index",), packages="none")
    resolved = sync.resolve(Path.cwd(), wants, everything=True)
    sync.write_lock(sync.install(resolved, taken={}, origins={}), sync.Files())
"""


@pytest.mark.parametrize(
    ("step", "when"),
    [
        *((step, "after") for step in STEPS),
        # Most often as after the step before it.
        *(pytest.param(step, "before", marks=pytest.mark.slow) for step in STEPS),
    ],
)
def test_a_killed_sync_leaves_the_old_pair_or_the_new_one(tmp_path: Path, step: str, when: str) -> None:
    """Lock and packages belong together at each step; the next sync brings what was wanted."""
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    wanted = wants(Listed("polls", "polls"))
    brought(tmp_path, wanted)
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.1")
    script = tmp_path / "killed.py"
    script.write_text(dedent(KILLED))
    done = subprocess.run([sys.executable, str(script), step, when], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    installed = find_installed(tmp_path, (tmp_path / NAME).read_bytes())
    version = installed.packages["polls"].version
    assert version in ("1.0", "1.1")
    assert f'version = "{version}"' in (tmp_path / NAME).read_text()
    assert mod_source("polls", version).strip() in (installed.folder / "polls" / "__init__.py").read_text()
    assert brought(tmp_path, wanted, everything=True).lock.versions == {"polls": "1.1"}


def test_a_lock_that_nothing_is_installed_of_says_so(tmp_path: Path) -> None:
    """And one that is no lock says what is wrong."""
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    resolved = sync.resolve(tmp_path, wants(Listed("polls", "polls")))
    from devserver.market.lock import Facts, written

    with pytest.raises(NotInstalled, match="1 locked package is not installed · oa-dev sync"):
        find_installed(tmp_path, written(resolved.text, Facts(), tmp_path).encode())
    with pytest.raises(NotInstalled, match="cannot be used"):
        find_installed(tmp_path, b"<<<<<<< HEAD\n")


def test_what_is_built_in_is_searched_in_no_index(tmp_path: Path) -> None:
    """Its name may be that of another public package: `oa-dev add` brings what is built in. What an index here
    lists is wanted without it."""
    (tmp_path / "mods").mkdir()
    needs = "polls>=1", "board>=1"
    (tmp_path / "mods" / "vote.py").write_text(
        f"from devserver import BaseMod\nclass VoteMod(BaseMod):\n    requires = {needs}\n"
    )
    make_mod_wheel(tmp_path / "mods-index", "board", "1.0")
    mods = "network:\n  name: team\n  mods: [{name: mods.vote}, {name: reminders}, {name: board}]\n"
    config = parse_network(f"{mods}dev: {{indexes: [mods-index]}}\n")
    found = catalogues_of(config, tmp_path, Ask.KEPT).catalogues
    assert all(find(found, each) for each in ("polls", "reminders", "board"))
    wanted = wants_of(config, tmp_path, Lock(), found)
    assert [each.name for each in wanted.listed] == ["board"]
    assert [each.requires for each in wanted.needing] == [("board>=1",)]


def test_nothing_to_do_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is locked of the same wants, and installed, is known from files alone."""
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    wanted = wants(Listed("polls", "polls"))
    ready = brought(tmp_path, wanted)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert sync.is_current(tmp_path, sync.lock_here(tmp_path), wanted)
    assert not sync.is_current(tmp_path, ready.lock, wants(Listed("polls", "polls", ">=2")))
