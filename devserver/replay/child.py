"""The replay process: the server's mods, isolated from everything, with a fork for each event.

It waits for one message after the other and answers each (`frames`). It ends with the server, for
any reason. Mods run here as they do there, but effects outside of the process are refused
(`sandbox`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import shutil
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from devserver.agent_network import AgentNetwork, folder_name
from devserver.live.generation import running
from devserver.model.change import ConfigChanged, FilesChanged
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.facts import Fact, Outcome, PlanDone, Status
from devserver.model.logs import prepare
from devserver.model.names import mod_id_of
from devserver.model.observation import Observation
from devserver.network.compare import compare_at
from devserver.replay import plain
from devserver.replay.forks import MOST_BYTES, Failed, Spare, done_here, forked, reap
from devserver.replay.frames import read_message, write_answer
from devserver.replay.observe import Watched, with_numbers
from devserver.replay.sandbox import Sandbox, end_with_parent, shut, step_back
from devserver.replay.stand import Given, event_of, plain_of, set_up
from devserver.sources import files
from devserver.sources.large import stay_here

T = TypeVar("T")

_GRACE = 0.5
"""Seconds that a fork has beyond those of its event."""
_IDLE = 0.5
"""Seconds without a message after which garbage is collected."""
_MOST_SESSION = 200 * 1024 * 1024
"""The most bytes of the observations of a session."""
MOST_STORAGE = 10 * 1024 * 1024
"""The most bytes of a mod's storage that are copied; a larger storage is empty here."""


@dataclass(slots=True)
class _Kept:
    """An event that is run again and again, and its initial state."""

    event: dict[str, Any]
    agents: list[Mapping[str, Any]]
    channels: Mapping[str, list[str]]
    states: Mapping[str, Given]
    packed: Mapping[str, Any]


class Child:
    """The process, between two messages.

    Arguments: `workspace`, the folder of network.yaml; `folder`, the one that it may write to;
    `forks`, whether an event runs in a fork. If not, the process ends after one event.
    """

    def __init__(self, workspace: Path, folder: Path, sandbox: Sandbox, *, forks: bool = True) -> None:
        self._workspace = workspace
        self._sandbox = sandbox
        self._forks = forks
        self._allowed: frozenset[str] = frozenset()
        """The modules of mods that may use the network, as their paths."""
        self._storage = _Storage(workspace / ".oa-dev" / "storage", folder / "storage")
        self._loop = asyncio.new_event_loop()
        self._network: AgentNetwork | None = None
        self._facts: list[Fact] = []
        self._numbers: dict[str, int] = {}
        self._failed: dict[str, str] = {}
        self._kept: dict[str, _Kept] = {}
        self._is_untidy = False
        self._spare: Spare | None = None
        """A fork with the present code and the kept events."""
        self._has_log = False
        self._asks: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "follow": self._follow,
            "keep": self._keep,
            "drop": self._drop,
            "run": self._run,
            "plain": self._plain,
            "look": self._look,
            "session": self._session,
            "moment": self._moment,
        }

    def serve(self, reading: int, writing: int) -> None:
        """Answer until the server has ended."""
        while (message := self._next(reading)) is not None:
            try:
                answer = self._asks[message["do"]](message)
            except Failed as error:
                answer = {"cannot": str(error)}
            except Exception as error:
                # An exception of any message: the next one is another.
                answer = {"cannot": f"{type(error).__name__}: {error}"}
            write_answer(writing, answer)
            if self._spare is None and self._forks and self._kept:
                self._make_spare()

    def _next(self, reading: int) -> Any:
        """Read a message. If none comes for a moment, collect garbage of earlier code first."""
        if (self._is_untidy or self._sandbox.ending) and not _comes(reading, _IDLE):
            reap(self._sandbox)
            self._log_ahead()
            gc.unfreeze()
            gc.collect()
            gc.freeze()  # a collection in a fork would copy each page that it marks
            self._is_untidy = False
        return read_message(reading)

    def _log_ahead(self) -> None:
        """Import the log if a mod may write to it: otherwise each fork imports it, which takes longer than all else."""
        engine = None if self._network is None or self._has_log else self._network.engine
        if engine is not None and any(
            "log" in engine.modules.names_around(each.entry) for each in engine.registry.live
        ):
            self._has_log = True
            prepare()
            if self._spare is not None:
                self._end_spare()
                self._make_spare()

    # Code

    def _follow(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Run the server's code: `mods`, `digests` of all sources, `texts` of the changed ones."""
        self._end_spare()
        gc.enable()
        self._sandbox.refused.clear()
        self._facts.clear()
        files.held.update(message["texts"])
        specs = tuple(ModSpec(path, config) for path, config in message["mods"])
        if "config" in message:
            allow = message["config"].replay.allow
            self._allowed = frozenset(each.path for each in specs if mod_id_of(each.path) in allow)
            self._sandbox.may_use_network = self._may_use_network
        self._numbers = dict(message["numbers"])
        self._loop.run_until_complete(self._followed(message, specs))
        for mod_id, why in self._outcomes():
            self._failed[mod_id] = why
        network = self._network
        assert network is not None
        # A thread beside a fork may hold a lock that no one in the fork releases.
        network.engine.worker.stop(1.0)
        # In a fork a collection would write to every page, and so copy it.
        gc.freeze()
        gc.disable()
        self._is_untidy = True
        running = {each.path: each.text.digest for each in network.engine.modules.current.values()}
        wanted = message["digests"]
        live = {each.mod_id for each in network.engine.registry.live}
        self._failed = {mod_id: why for mod_id, why in self._failed.items() if mod_id not in live}
        # What only a handler imports is imported in the fork that runs it, from the given texts.
        others = [str(path) for path, digest in wanted.items() if running.get(path, digest) != digest]
        return {"others": others if not self._failed else [], "failed": self._failed, "kernel": self._sandbox.kernel}

    async def _followed(self, message: Mapping[str, Any], specs: tuple[ModSpec, ...]) -> None:
        if self._network is None:
            config: NetworkConfig = replace(message["config"], mods=specs)
            sys.path[:] = message["path"]
            network = self._network = AgentNetwork(config, self._workspace, tell=self._facts.append)
            for each in message["roots"]:
                network.engine.roots.add(each)
            network.engine.roots.asked = message["asked"]
            network.engine.proof.is_wanted = False
            network.engine.agents_first = 0.0
            if message["texts"]:
                # The server has checked the sources; in a user namespace files of root look like a
                # stranger's.
                network.engine.roots.why_refused = lambda path: None  # type: ignore[method-assign]
            network.storage_path = self._storage.path  # type: ignore[method-assign]
            await network.initialize()
            await network.engine.quiet()
            return
        network = self._network
        network.engine.replace_worker()
        wanted = replace(network.config, mods=specs)
        if wanted.mods != network.config.mods:
            await network.submit(ConfigChanged(wanted))
        now = {each.path: each.text.digest for each in network.engine.modules.current.values()}
        changed = {path: digest for path, digest in message["digests"].items() if now.get(path) != digest}
        if changed:
            texts = {path: files.held[path] for path in changed if path in files.held}
            await network.submit(FilesChanged(changed, "saved", texts))
        await network.engine.quiet()

    def _outcomes(self) -> Iterable[tuple[str, str]]:
        """Return the mods that do not run here, each with the reason."""
        outcomes: list[Outcome] = [each for fact in self._facts if isinstance(fact, PlanDone) for each in fact.outcomes]
        for each in outcomes:
            if each.status is not Status.APPLIED and not each.generation:
                wants = ", ".join(self._sandbox.refused)
                yield each.mod_id, f"it wants {wants} to start" if wants else str(each.error or each.reason)

    def _may_use_network(self, event: str) -> bool:
        """Whether the handler, the hook or the import that runs belongs to an allowed mod."""
        if not self._allowed:
            return False
        call = running.get()
        if call is not None:
            return call.generation.mod_path in self._allowed
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            name = frame.f_globals.get("__name__", "")
            if any(name == each or name.startswith(f"{each}.") for each in self._allowed):
                return True
            frame = frame.f_back
        # A loop looks names up on a thread of its own, which has no call.
        return event == "socket.getaddrinfo" and threading.current_thread() is not threading.main_thread()

    # Events

    def _keep(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Keep an event with its initial state under a `name`, to run it often."""
        self._end_spare()
        self._kept[message["name"]] = _kept(message)
        return {}

    def _drop(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._end_spare()
        self._kept.pop(message["name"], None)
        return {}

    def _run(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Run an event: one that is kept under a `name`, or the one of the message."""
        seconds = message["seconds"]
        if "name" in message and (spare := self._ordered(message["name"], seconds)) is not None:
            return {"seen": self._restored(lambda: spare.result(seconds + _GRACE))}
        kept = self._kept[message["name"]] if "name" in message else _kept(message)
        return {"seen": self._restored(lambda: self._apart(lambda: self._observed(kept, seconds), seconds + _GRACE))}

    def _ordered(self, name: str, seconds: float) -> Spare | None:
        """Have the spare fork run a kept event, and make the next one beside it; return the first, None without one."""
        spare, self._spare = self._spare, None
        if spare is None or not spare.give(json.dumps([name, seconds]).encode()):
            return None
        self._make_spare()
        return spare

    def _make_spare(self) -> None:
        # Without one, an event waits for a fork of its own.
        with contextlib.suppress(OSError):
            self._spare = Spare(self._sandbox, self._prepared)

    def _prepared(self) -> Callable[[bytes], Any]:
        """Do in a spare fork what each event needs; return what runs a kept one."""
        assert self._network is not None
        loop, watched = asyncio.new_event_loop(), Watched(self._network)

        def run(order: bytes) -> dict[str, Any]:
            name, seconds = json.loads(order)
            return self._observed(self._kept[name], seconds, loop, watched)

        return run

    def _end_spare(self) -> None:
        """End the spare fork, because it knows less than this process is about to know."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.end()

    def _apart(self, work: Callable[[], Any], seconds: float, most: int = MOST_BYTES) -> Any:
        """Return the result of work whose effects end with it. Raises Failed."""
        return forked(self._sandbox, work, seconds, most) if self._forks else done_here(work, most)

    def _observed(
        self,
        kept: _Kept,
        seconds: float,
        loop: asyncio.AbstractEventLoop | None = None,
        watched: Watched | None = None,
    ) -> dict[str, Any]:
        network = self._network
        assert network is not None
        self._sandbox.refused.clear()
        self._sandbox.let_through.clear()

        async def observed() -> Observation:
            states = {**kept.states, **{mod_id: Given.unpacked(each) for mod_id, each in kept.packed.items()}}
            await set_up(network, kept.agents, kept.channels, states)
            return await (watched or Watched(network)).run(event_of(kept.event), seconds)

        seen = with_numbers(_run_in_fork(observed(), loop), self._numbers)
        notes = (*seen.notes, *self._with_network(seen))
        return replace(seen, refused=(*seen.refused, *self._sandbox.refused), notes=notes).to_dict()

    def _with_network(self, seen: Observation) -> Iterator[str]:
        """Return a note if mods of a run had the network, with what they did there."""
        allowed = {mod_id_of(each) for each in self._allowed}
        if mods := [each for each in seen.generations if each in allowed]:
            yield f"with network: {', '.join(mods)}{''.join(f'; {each}' for each in self._sandbox.let_through)}"

    def _session(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Run events in order, each on the state after the ones before; all in one fork."""
        return {
            "all": self._restored(
                lambda: self._apart(lambda: _run_in_fork(self._played(message)), message["most_seconds"], _MOST_SESSION)
            )
        }

    def _moment(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Run events as `_session` does; return the observation of the last one, and one level of a mod's state after
        it, at `steps`."""

        async def there() -> dict[str, Any]:
            network = self._network
            assert network is not None
            seen = (await self._played(message, ends_with_state=True))[-1]
            mods = [each for each in network.engine.registry.live if each.mod_id == message["mod"]]
            return {"seen": seen, **(_level(plain.shown(mods[0].instance.state), message["steps"]) if mods else {})}

        return {"moment": self._restored(lambda: self._apart(lambda: _run_in_fork(there()), message["most_seconds"]))}

    def _restored(self, work: Callable[[], T]) -> T:
        """Return the result of work, and undo its effects on storages. Raises Failed."""
        try:
            return work()
        finally:
            self._storage.restore()

    async def _played(self, message: Mapping[str, Any], *, ends_with_state: bool = False) -> list[dict[str, Any]]:
        """Return the observation of each event; what one changes in states is known of the last one at most."""
        network, begin, seconds = self._network, _kept({**message, "event": {}}), message["seconds"]
        assert network is not None
        await set_up(network, begin.agents, begin.channels, begin.states)
        watched, found = Watched(network), []
        for each in message["events"]:
            self._sandbox.refused.clear()
            if "agent" in each:
                # Let an agent of a session come or go.
                with contextlib.suppress(Exception):
                    if each["came"]:
                        await network.register_agent(each["agent"], each.get("metadata"), trusted=True)
                    else:
                        await network.unregister_agent(each["agent"])
                continue
            event, with_state = event_of(each), ends_with_state and each is message["events"][-1]
            try:
                ran = await watched.run(event, seconds, tasks_last=0.0, with_state=with_state)
                seen = with_numbers(ran, self._numbers)
                found.append(replace(seen, refused=(*seen.refused, *self._sandbox.refused)).to_dict())
            except TimeoutError:
                found.append({"cannot": f"did not end within {seconds:g} s"})
        return found

    # State

    def _plain(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return packed states as plain data, or the reasons why they have no plain form."""
        packed = message["states"]
        return {"states": self._apart(lambda: {mod: plain_of(each) for mod, each in packed.items()}, 5.0)}

    def _look(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return one level of a packed state at `steps`, or its differences `since` another."""
        return {"look": self._apart(lambda: looked(message), 5.0)}


def _comes(reading: int, seconds: float) -> bool:
    """Return whether something can be read within so many seconds."""
    # select() knows no descriptor above 1,023.
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _run_in_fork(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Run a function in a loop that is never closed: that takes as long as a handler."""
    loop = loop or asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(work)


def _kept(message: Mapping[str, Any]) -> _Kept:
    states = {mod_id: Given.from_dict(each) for mod_id, each in message.get("states", {}).items()}
    return _Kept(
        message["event"], message.get("agents", []), message.get("channels", {}), states, message.get("packed", {})
    )


def looked(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return one level of a state, or what differs between two: see `Child._look`."""
    now = plain.shown(Given.unpacked(message["state"]).keys)
    if message.get("since") is not None:
        before = plain.shown(Given.unpacked(message["since"]).keys)
        names = ("steps", "before", "after", "kind")
        differences = compare_at((), before, now)
        return {"differences": [dict(zip(names, each, strict=True)) for each in differences]}
    return _level(now, message["steps"])


def _level(now: Any, steps: Iterable[Any]) -> dict[str, Any]:
    """Return one level of a shown state. Raises LookupError where nothing lies at these steps."""
    for step in steps:
        inside = _inside(now)
        if inside is None or (isinstance(inside, list) and not isinstance(step, int)):
            raise LookupError(f"nothing lies at {step!r}")
        now = inside[step] if isinstance(inside, list) else inside[str(step)]
    inside = _inside(now)
    if inside is None:
        return {"value": now}
    if isinstance(inside, list):
        return {
            "type": _type_of(now),
            "items": [_row(place, each) for place, each in enumerate(inside[:_MOST_ROWS])],
            "of": len(inside),
        }
    rows = [_row(key, inside[key]) for key in list(inside)[:_MOST_ROWS]]
    return {"type": _type_of(now), "items": rows, "of": len(inside)}


_MOST_ROWS = 500


def _inside(form: Any) -> Any:
    """Return the contents of a form: a list, a mapping, or None for a value without parts."""
    if isinstance(form, list):
        return form
    if not isinstance(form, dict):
        return None
    if "$" not in form:
        return form
    inside = form["of"]
    if form["$"] in ("dict", "OrderedDict", "Counter", "defaultdict") and isinstance(inside, list):
        return {str(key): value for key, value in inside}
    return inside if isinstance(inside, list | dict) else None


def _type_of(form: Any) -> str:
    if isinstance(form, dict) and "$" in form:
        return str(form.get("cls") or form["$"])
    return type(form).__name__


def _row(key: Any, form: Any) -> dict[str, Any]:
    """Return one entry of a level: its key, its type, its size, or its value."""
    inside = _inside(form)
    row = {"key": key, "type": _type_of(form)}
    return {**row, "of": len(inside)} if inside is not None else {**row, "value": form}


class _Storage:
    """Copies of the files in mods' storages: mods find the server's contents, and change none."""

    def __init__(self, real: Path, copies: Path) -> None:
        self._real = real
        self._work, self._whole = copies / "work", copies / "whole"
        self._marks: dict[str, dict[str, tuple[int, int]]] = {}

    def path(self, mod_name: str) -> Path:
        """Return the folder for a mod's data, a copy of the real one."""
        name = folder_name(mod_name)
        folder = self._work / name
        if name not in self._marks:
            real = self._real / name
            folder.mkdir(parents=True, exist_ok=True)
            if real.is_dir() and sum(size for size, _ in _mark(real).values()) <= MOST_STORAGE:
                shutil.copytree(real, folder, dirs_exist_ok=True, symlinks=True)
            shutil.copytree(folder, self._whole / name, dirs_exist_ok=True, symlinks=True)
            self._marks[name] = _mark(folder)
        return folder

    def restore(self) -> None:
        """Undo the changes of a run."""
        for name, mark in self._marks.items():
            folder = self._work / name
            if _mark(folder) != mark:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(self._whole / name, folder, symlinks=True)
                self._marks[name] = _mark(folder)


def _mark(folder: Path) -> dict[str, tuple[int, int]]:
    """Return a folder's mark: each file with its size and the time of its last write."""
    found: dict[str, tuple[int, int]] = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a file may go while the folder is walked
                each = os.lstat(os.path.join(path, name))
                found[os.path.join(path, name)] = (each.st_size, each.st_mtime_ns)
    return found


def main() -> None:
    """Be the replay process of this process's server: its folders of network and writing."""
    workspace, folder, parent, network, fresh = sys.argv[1:6]
    if not end_with_parent(int(parent)):
        return
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(nothing, each)
    step_back()
    stay_here()
    sandbox = shut(Path(folder), network=network == "network")
    child = Child(Path(workspace), Path(folder), sandbox, forks=fresh != "fresh")
    child.serve(reading, writing)
    # Threads that an import has started do not delay the exit.
    os._exit(0)
