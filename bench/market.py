"""What mods from elsewhere cost: an add to a running server, upgrades under load, resolving, a start with a lock."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import peers
from bench.dispatch import side
from bench.harness import Options, Result, Table, at_least, at_most, median, p99, quotient, spread, take_turns
from bench.processes import free_port, interrupt, running, wait_for_port
from devserver.market import sync
from devserver.market.wants import Listed, Wants
from devserver.market.wheel import build_wheel

OURS, FIRST = "oa-dev add", "oa-dev add, in the first seconds of a server"
PIP, DATASETTE = "pip install + restart of uvicorn", "datasette install + restart"
_SETTLED = 6.0
"""Seconds after which a server with nothing else to do is prepared for commands."""
_FASTER, _RESOLVE, _START = 5.0, 10.0, 15.0
_FRESH, _WARM, _EVENT, _SWAP = 2.5, 1.0, 25.0, 15.0
_MODS, _EACH, _LOCKED = 50, 5, 20
_COMMAND = Path(sys.executable).with_name("oa-dev")
_PROJECT = """\
[build-system]
requires = ["uv_build>=0.11,<0.14"]
build-backend = "uv_build"
[project]
name = "{name}"
version = "1.0"
requires-python = ">=3.11"
dependencies = {needs}
[project.entry-points."openagents.mods"]
{module} = "{module}"
[project.entry-points.datasette]
{module} = "{module}.plugin"
"""
_MOD = """\
from devserver import BaseMod, EventResponse, mod_event_handler


class Extra(BaseMod):
    @mod_event_handler("extra.ask")
    async def ask(self, event):
        return EventResponse(True, "here")
"""
_APP = """\
from importlib.metadata import entry_points

FOUND = [each.name for each in entry_points(group="openagents.mods")]


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200 if FOUND else 404, "headers": []})
        await send({"type": "http.response.body", "body": repr(FOUND).encode()})
"""


def measure(options: Options) -> Result:
    """The tables."""
    with tempfile.TemporaryDirectory(prefix="oa-dev-bench-") as name:
        folder = Path(name)
        added, lost, missing = _added(folder / "add", options.count(5, 2))
        fresh, warm = _built_in(folder / "built-in", options.count(5, 2))
        resolved, not_resolved = _resolved(folder / "resolve", options.count(5, 2))
        started = _started(folder / "start", options.count(11, 3))
    upgrades = {kind: _upgrades(kind, options.count(40, 10)) for kind in ("ours", "purge")}
    tables = (
        Table(
            "A mod of a folder: from Enter to served",
            ("with", "s, median / p95", "connections lost"),
            tuple((each, spread(seconds, 2), str(lost[each])) for each, seconds in added.items()),
            (
                "The server runs, and one connection to it is kept open. Offline, one wheel, no other package.",
                f"A person adds a mod to a server that has run for a while: `{OURS}` begins {_SETTLED:g} s after the "
                "start, and the targets are about that. In the first seconds, in a new folder, what carries it out has "
                "to import first, and uv to read.",
                *missing,
            ),
        ),
        Table(
            "A built-in mod (`add polls --offline`): from Enter to served",
            ("uv's cache", "s, median / p95"),
            (("empty, in a new folder", spread(fresh, 2)), ("filled, in another new folder", spread(warm, 2))),
            ("The wheel is built by uv on the spot. Each sample has a server of its own, which runs already.",),
        ),
        Table(
            "40 upgrades of an installed mod while 8 agents ask",
            ("", "events", "failed", "of two versions at once", "upgrade", "its swap", "an event, p99"),
            tuple(
                (
                    what,
                    *(f"{each[name]:,}" for name in ("events", "failed", "mixed")),
                    *(spread(each[name]) for name in ("ms", "swap_ms")),
                    f"{p99(each['event_ms']):.1f}",
                )
                for what, each in (
                    ("oa-dev: the lock", upgrades["ours"]),
                    ("files in place, sys.modules purged", upgrades["purge"]),
                )
            ),
            ("In ms. Each answer names the versions of three modules, one imported late. Ours with uv and a lock.",),
        ),
        Table(
            f"Resolving {_MODS} mods of which each needs {_EACH}",
            ("with", "s, median / p95"),
            tuple((each, spread(seconds, 2)) for each, seconds in resolved.items()),
            not_resolved,
        ),
        Table(
            f"A start with {_LOCKED} locked packages and nothing to do",
            ("", "ms to ready, median / p95"),
            tuple((each, spread(found)) for each, found in started.items()),
        ),
    )
    return Result(
        tables,
        _targets(added, lost, upgrades["ours"], resolved, started) + _targets_of_times(fresh, warm, upgrades["ours"]),
        versions=peers.environment("market").versions,
    )


def _targets(
    added: dict[str, list[float]], lost: dict[str, int], ours: dict[str, Any], resolved: dict[str, list[float]],
    started: dict[str, list[float]],
) -> tuple[Any, ...]:  # fmt: skip
    targets = [
        at_least(f"add, against {peer}", quotient(added[peer], added[OURS]), _FASTER, "×")
        for peer in (PIP, DATASETTE) if added[peer]
    ]  # fmt: skip
    targets += [at_most("connections lost by add", lost[OURS], 0, "")]
    targets += [at_most("events that upgrades failed or mixed", ours["failed"] + ours["mixed"], 0, "")]
    if resolved["pip --dry-run"]:
        targets += [
            at_least("resolving, against pip", quotient(resolved["pip --dry-run"], resolved["oa-dev"]), _RESOLVE, "×")
        ]
    without, locked = started.values()
    return (*targets, at_most("start with a lock, beside one without", median(locked) - median(without), _START, "ms"))


def _targets_of_times(fresh: list[float], warm: list[float], ours: dict[str, Any]) -> tuple[Any, ...]:
    return (
        at_most("add of a built-in mod, with an empty cache", median(fresh), _FRESH, "s"),
        at_most("add of a built-in mod, with a filled cache", median(warm), _WARM, "s"),
        at_most("an event while mods are upgraded, p99", p99(ours["event_ms"]), _EVENT, "ms"),
        at_most("the swap of an upgrade", median(ours["swap_ms"]), _SWAP, "ms"),
    )


def _wheel(folder: Path, name: str, needs: list[str]) -> Path:
    module = name.replace("-", "_")
    package = folder / "sources" / name / "src" / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "mod.py").write_text(_MOD)
    (package / "plugin.py").write_text("")
    project = _PROJECT.format(name=name, needs=json.dumps(needs), module=module)
    (folder / "sources" / name / "pyproject.toml").write_text(project)
    return build_wheel(folder / "sources" / name, folder / "index")


# From Enter to served


class _Kept:
    """A connection to a server that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.lost = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def status(self, path: str) -> int:
        """Ask once; on a new connection where the kept one is lost."""
        try:
            return self._asked(path)
        except (OSError, http.client.HTTPException):
            self.lost += 1
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            return self._asked(path)

    def _asked(self, path: str) -> int:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def _added(folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, int], tuple[str, ...]]:
    """Seconds of each side, the connections that it lost, and what is missing, with why."""
    wheel = _wheel(folder, "bench-extra", [])
    found = peers.environment("market")
    missing = tuple(f"{name} is missing: {why}" for name, why in found.missing.items())
    with ExitStack() as stack:
        ours = _Ours(folder / "network", stack, index=folder / "index")
        sides: dict[str, Callable[[], float | None]] = {OURS: ours.sample}
        theirs = {PIP: _uvicorn(found, folder), DATASETTE: _datasette(found)}
        restarted = {name: _Restarted(found, wheel, *made) for name, made in theirs.items() if made[0] in found}
        sides |= {name: each.sample for name, each in restarted.items()}
        sides[FIRST] = _first(folder)
        time.sleep(_SETTLED)
        samples = take_turns(sides, rounds)
    lost = {PIP: 0, DATASETTE: 0, FIRST: 0, OURS: ours.kept.lost}
    lost |= {name: each.lost for name, each in restarted.items()}
    return {each: samples.get(each, []) for each in (OURS, FIRST, PIP, DATASETTE)}, lost, missing


def _first(folder: Path) -> Callable[[], float]:
    """Samples of which each has a server that has just started."""

    def sample() -> float:
        with ExitStack() as stack, tempfile.TemporaryDirectory(dir=folder) as new:
            return _Ours(Path(new) / "network", stack, index=folder / "index").sample()

    return sample


class _Ours:
    """A running `oa-dev`, to which a mod is added and from which it is removed again. `cache` is uv's."""

    def __init__(self, folder: Path, stack: ExitStack, *, index: Path | None = None, cache: Path | None = None) -> None:
        self._folder, port = folder, free_port()
        self._folder.mkdir(parents=True)
        self._more = {} if cache is None else {"UV_CACHE_DIR": str(cache)}
        yaml = f"network:\n  name: Bench\n  transports: [{{type: http, config: {{port: {port}}}}}]\n  mods: []\n"
        if index is not None:
            shutil.copytree(index, self._folder / "mods-index")
            yaml += "dev: {indexes: [mods-index], packages: none}\n"
        (self._folder / "network.yaml").write_text(yaml)
        process = stack.enter_context(running([str(_COMMAND), "run", "--no-keys"], self._folder))
        wait_for_port(port, process)
        self.kept = _Kept(port)
        self.kept.status("/healthz")

    def sample(self, name: str = "bench-extra", event: str = "extra.ask") -> float:
        """Seconds of `oa-dev add`, which ends when the mod serves."""
        began = time.perf_counter()
        self._run("add", name, "--yes", "--offline")
        took = time.perf_counter() - began
        self._run("send", event)
        self.kept.status("/healthz")
        self._run("remove", name, "--offline")
        # What was installed stays until the next start; the others install each time, too.
        for each in (self._folder / ".oa-dev/env").glob(f"*/{name.replace('-', '_')}"):
            shutil.rmtree(each.parent)
        return took

    def _run(self, *arguments: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | self._more
        subprocess.run([str(_COMMAND), *arguments], cwd=self._folder, check=True, capture_output=True, env=kept)


def _built_in(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds in new folders: with an empty cache of uv, and with one that the sample before has filled."""
    fresh, warm = list[float](), list[float]()
    for number in range(rounds):
        for kind, found in (("fresh", fresh), ("warm", warm)):
            with ExitStack() as stack:
                ours = _Ours(folder / f"{kind}-{number}", stack, cache=folder / f"cache-{number}")
                found.append(ours.sample("polls", "polls.list"))
    return fresh, warm


class _Restarted:
    """A server that sees a new package only after a restart."""

    def __init__(
        self, found: peers.Environment, wheel: Path, name: str, install: list[str], serve: list[str], path: str
    ) -> None:
        self._bin, self._wheel, self._folder, self._path = found.bin, wheel, wheel.parents[1], path
        self._install, self._serve = [*install, str(wheel)], serve
        self.lost = 0

    def sample(self) -> float:
        """Seconds from the command until the server answers with the package."""
        self._pip("uninstall", "--yes", "--quiet", "bench-extra")
        port = free_port()
        with ExitStack() as stack:
            process = stack.enter_context(running(self._command(port), self._folder))
            wait_for_port(port, process)
            kept = _Kept(port)
            kept.status(self._path)
            began = time.perf_counter()
            environment = {**os.environ, "PIP_NO_INDEX": "1"}
            subprocess.run(
                [str(self._bin / self._install[0]), *self._install[1:]],
                check=True,
                capture_output=True,
                env=environment,
            )
            interrupt(process)
            again = stack.enter_context(running(self._command(port), self._folder))
            wait_for_port(port, again)
            kept.status(self._path)
            took = time.perf_counter() - began
            self.lost += kept.lost
            return took

    def _command(self, port: int) -> list[str]:
        return [str(self._bin / self._serve[0]), *(each.format(port=port) for each in self._serve[1:])]

    def _pip(self, *arguments: str) -> None:
        subprocess.run([str(self._bin / "python"), "-m", "pip", *arguments], check=True, capture_output=True)


def _uvicorn(found: peers.Environment, folder: Path) -> tuple[str, list[str], list[str], str]:
    (folder / "bench_app.py").write_text(_APP)
    install = ["python", "-m", "pip", "install", "--quiet", "--no-index"]
    return "uvicorn", install, ["uvicorn", "bench_app:app", "--port", "{port}"], "/"


def _datasette(found: peers.Environment) -> tuple[str, list[str], list[str], str]:
    return (
        "datasette",
        ["datasette", "install"],
        ["datasette", "serve", "--memory", "--port", "{port}"],
        "/-/plugins.json",
    )


# Upgrades, resolving, starts


def _upgrades(kind: str, turns: int) -> dict[str, Any]:
    with side("upgrades.py", kind) as program:
        found: dict[str, Any] = json.loads(program.ask(turns))
    return found


def _resolved(folder: Path, rounds: int) -> tuple[dict[str, list[float]], tuple[str, ...]]:
    names = [f"bench-mod-{number}" for number in range(_MODS)]
    for number, each in enumerate(names):
        _wheel(folder, each, [f"{need}>=1" for need in names[number + 1 : number + 1 + _EACH]])
    wants = Wants(listed=tuple(Listed(each, each) for each in names), indexes=("index",), packages="none")
    found = peers.environment("market")

    def ours() -> float:
        began = time.perf_counter()
        sync.resolve(folder, wants, everything=True, offline=True)
        return time.perf_counter() - began

    def pip() -> float | None:
        if "pip" not in found:
            return None
        command = [str(found.bin / "python"), "-m", "pip", "install", "--dry-run", "--quiet", "--no-index"]
        began = time.perf_counter()
        subprocess.run([*command, "--find-links", str(folder / "index"), *names], check=True, capture_output=True)
        return time.perf_counter() - began

    samples = take_turns({"oa-dev": ours, "pip --dry-run": pip}, rounds, misses=1)
    return samples, () if samples["pip --dry-run"] else ("pip could not be installed.",)


def _started(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds until a server is ready, without and with a lock."""
    names = [f"bench-package-{number}" for number in range(_LOCKED)]
    for each in names:
        _wheel(folder, each, [])
    kinds = {"without a lock": [], f"{_LOCKED} locked packages": names}
    folders = {kind: _network(folder, f"network-{number}", needs) for number, (kind, needs) in enumerate(kinds.items())}
    return take_turns({kind: lambda found=found: _ready(found) for kind, found in folders.items()}, rounds)


def _network(folder: Path, name: str, needs: list[str]) -> Path:
    found = folder / name
    (found / "mods").mkdir(parents=True)
    shutil.copytree(folder / "index", found / "mods-index")
    block = "".join(f'#   "{each}",\n' for each in needs)
    (found / "mods" / "extra.py").write_text(f"# /// script\n# dependencies = [\n{block}# ]\n# ///\n{_MOD}")
    (found / "network.yaml").write_text(
        "network:\n  name: Bench\n  mods: [{name: mods.extra}]\ndev: {indexes: [mods-index], packages: none}\n"
    )
    if needs:
        subprocess.run([str(_COMMAND), "sync", "--yes", "--offline"], cwd=found, check=True, capture_output=True)
    return found


def _ready(folder: Path) -> float:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [str(_COMMAND), "run", "--json", "--port", "0"]
    with subprocess.Popen(
        command, cwd=folder, env=kept, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        began = next(row for row in map(json.loads, process.stdout) if row["type"] == "ready")
        process.terminate()
        process.stdout.read()
    return float(began["ready_ms"])
