"""Sees what changed on disk: compares the contents of known sources with those of the last look.

Level-triggered. A notification, or a slow sweep without one, only says that it is worth comparing;
the report follows from the contents on disk. Executes nothing and decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections import ChainMap
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from devserver.live.loops import Worker, run_in_thread
from devserver.model.change import Digest, Sources
from devserver.model.facts import Ignored
from devserver.model.names import LOCK
from devserver.sources import settle
from devserver.sources.files import LISTING, names_of, read_bytes
from devserver.sources.ignore import MAX_DIRECTORIES, Explainer, Rules, walk
from devserver.sources.inotify import AT_MOST
from devserver.sources.inotify import QUIET as TOGETHER
from devserver.sources.memory import Memory, Verdict
from devserver.sources.notify import Ground, Notifier, Stamp, stamps, survey
from devserver.sources.roots import Roots
from devserver.sources.writers import git_lock, identity_of, own_output

SWEEP = 1.0
"""Seconds between two looks at all known sources without any notification."""

# Looking at many sources costs time: beyond these shares of it, looks come less often, up to a limit.
_SWEEP_AT_MOST = 2.0
_SWEEP_SHARE = 1 / 150
_ASK_AT_MOST = 20.0
_ASK_SHARE = 1 / 600
_STORM_GAP = 0.02
_STORM_QUIET = 0.03
_STORM_HOLDS = (0.0, 0.0, 0.2, 0.4)
"""Seconds to wait before a look, by the number of reports in a row; then the last value."""

# A rebase that waits for a person keeps its lock, and saves must not wait for that person.
_GIT_PATIENCE = 10.0
_GIT_QUIET = 1.0

_TOGETHER = 0.2
"""Seconds that whole files wait for files of the same save that are being written."""

_REPORT = 0.5
"""Seconds that the report of a change is waited for before the next look."""

_LOOK = 0.05
"""Seconds that the reader waits for writers before it looks for other saves."""

Texts = Mapping[Path, bytes]
"""The bytes of sources that were read and compared."""

OnChange = Callable[[Sources, Texts], Awaitable[None]]


class Watch:
    """Watches the sources of everything that runs.

    Arguments: `known`, all sources with the digests they were loaded with; `config_file`,
    network.yaml, which is reported through `on_config`, as the lock beside it is through `on_lock`;
    `on_change`, awaited with the sources that differ and their bytes; `ignored`, told of saves that
    led to nothing; `notice`, told how it watches if that is unusual; `folders`, where mods are
    searched; `whole`, called on the reader's thread with each changed source; `written`, the files
    that mods have written themselves, whose saves are not told; `read_by`, which mod opens a file
    while it serves, and the command that brings it.

    network.yaml and the lock count as read just before.
    """

    def __init__(
        self,
        roots: Roots,
        known: Callable[[], Sources],
        config_file: Path,
        *,
        on_change: OnChange,
        on_config: Callable[[], Awaitable[None]],
        on_lock: Callable[[], Awaitable[None]] | None = None,
        ignored: Callable[[Ignored], None],
        notice: Callable[[str], None],
        folders: Callable[[], Iterable[str]] = tuple,
        whole: Callable[[Path, bytes, Digest], None] = lambda path, data, digest: None,
        written: Callable[[], Collection[str]] = tuple,
        read_by: Callable[[str], tuple[str, str] | None] = lambda path: None,
    ) -> None:
        self._roots = roots
        self._known = known
        self._config_file = config_file
        self._lock_file = config_file.with_name(LOCK)
        read = settle.settled([config_file, self._lock_file], 0)
        self._seen = {path: each.digest for path, each in read.items()}
        """Files that are reported in their own way: network.yaml and its lock."""
        self._on_change = on_change
        self._on_config = on_config
        self._on_lock = on_lock
        self._notice = notice
        self._folders = folders
        self._whole = whole
        self._written = written
        self._own_output = own_output()
        self._said: set[str] = set()
        self._rules_file = roots.workspace / ".gitignore"
        self._rules = Rules(roots.workspace, _text(self._rules_file))
        self._explainer = Explainer(roots.holds, roots.shown, ignored, read_by)
        self._memory = Memory()
        self._ground = Ground()
        self._stamps: Mapping[str, Stamp | None] = {}
        self._notifier = Notifier(self._wake, self._look_for_missed, notice, self._is_source)
        self._woken = asyncio.Event()
        self._notified: set[str] = set()
        self._has_missed = False
        self._sweeps = Pace(SWEEP, _SWEEP_AT_MOST, _SWEEP_SHARE)
        self._asks = Pace(SWEEP, _ASK_AT_MOST, _ASK_SHARE)
        self._unsettled: dict[Path, settle.Settling] = {}
        self._reports: set[asyncio.Task[object]] = set()
        self._stale_lock: settle.Signature | None = None
        self._fault = ""
        self._came = self._latest = self._storms_until = 0.0
        self._in_a_row = 0

    @property
    def kind(self) -> str:
        """The way in which it watches, for people."""
        return self._notifier.kind

    def watched(self) -> tuple[str, ...]:
        """Return the top folders that are watched, for people."""
        tops = [each for each in self._top_folders(self._known()) if each.is_relative_to(self._roots.workspace)]
        names = [each.relative_to(self._roots.workspace).parts[0] for each in tops if each != self._roots.own]
        return (*(f"{name}/" for name in dict.fromkeys(names)), self._config_file.name)

    async def run(self) -> None:
        """Watch until cancelled."""
        self._look_for_missed()
        self._reader = Worker("oa-dev reader")
        try:
            while True:
                if await self._guarded(self._turn()):
                    self._fault = ""
                else:
                    # What could not be done now is done with the next sweep.
                    await asyncio.sleep(SWEEP)
                await self._wait()
        finally:
            for task in self._reports:
                task.cancel()
            self._notifier.stop()
            self._reader.stop()

    async def _guarded(self, work: Awaitable[None]) -> bool:
        """Run a look; return whether it went well. A fault of ours is told, once in a row."""
        try:
            await work
        except Exception as error:
            words = f"a change could not be followed: {type(error).__name__}: {error}"
            if words != self._fault:
                self._notice(words)
            self._fault = words
            return False
        return True

    # What wakes it

    def _wake(self, paths: set[str]) -> None:
        if self._own_output:
            # Skip our own log files: reporting such a write would cause the next one.
            paths = {each for each in paths if identity_of(each) not in self._own_output}
            if not paths:
                return
        self._latest = time.monotonic()
        if not self._notified:
            self._came = self._latest
        self._notified |= paths
        self._woken.set()

    def _is_source(self, path: str) -> bool:
        return Path(path) in self._all_known()

    def _look_for_missed(self) -> None:
        self._has_missed = True
        self._woken.set()

    async def _wait(self) -> None:
        is_due = self._memory.unproven or self._notified or self._has_missed
        if not is_due and not self._woken.is_set():
            due = min(self._sweeps.due, self._memory.due()) - time.monotonic()
            await self._comes_within(min(due, settle.QUIET) if self._unsettled else due)
        self._woken.clear()

    async def _turn(self) -> None:
        """Look at all places where something may have happened."""
        await self._let_a_storm_pass()
        notified, self._notified = self._notified, set()
        differing = self._memory.unproven | self._memory.overdue(time.monotonic())
        if str(self._rules_file) in notified:
            self._rules = Rules(self._roots.workspace, _text(self._rules_file))
        if self._has_missed or str(self._rules_file) in notified or self._concerns_directories(notified):
            self._learn_if_due()
            self._has_missed = False
            notified |= await self._explore(notified)
            differing |= await self._moved()
        elif time.monotonic() >= self._sweeps.due:
            differing |= await self._sweep()
        if notified or differing or self._unsettled:
            await self._look(notified, differing)

    async def _let_a_storm_pass(self) -> None:
        """If changes come in quick succession, wait a little, until none comes for a moment."""
        if self._came > self._storms_until:
            self._in_a_row = 0
        until = time.monotonic() + _STORM_HOLDS[min(self._in_a_row, len(_STORM_HOLDS) - 1)]
        while time.monotonic() < until and await self._comes_within(_STORM_QUIET):
            pass

    async def _comes_within(self, seconds: float) -> bool:
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._woken.wait()
        return self._woken.is_set()

    def _concerns_directories(self, notified: set[str]) -> bool:
        return any(each in self._ground.directories or self._is_directory(each) for each in notified)

    def _is_directory(self, name: str) -> bool:
        return os.path.isdir(name) and self._rules.why_ignored(Path(name), is_directory=True) is None

    # Looking

    async def _sweep(self) -> set[Path]:
        """Return the sources that have changed without a notification."""
        began = time.monotonic()
        before, self._stamps = self._stamps, await run_in_thread(stamps, self._ground.directories)
        if _identities(before) != _identities(self._stamps):
            await self._follow()
        found = await self._moved(absent=before != self._stamps)
        self._sweeps.rest(time.monotonic() - began)
        self._learn_if_due()
        return found

    async def _moved(self, *, absent: bool = True) -> set[Path]:
        return await run_in_thread(settle.moved, self._memory.signatures(absent=absent))

    async def _look(self, notified: set[str], differing: set[Path]) -> None:
        """Compare the sources on disk with the last look, and report differences as one change."""
        if await self._git_was_busy():
            differing = differing | await self._moved()
        sources, others = self._split(notified)
        readings = await self._read(sources | differing)
        now = time.monotonic()
        own = {path for path, each in readings.items() if path.name == LISTING and self._is_own_change(path, each)}
        verdicts = {path: self._memory.take(path, readings[path], now) for path in sorted(readings)}
        news = {path: readings[path].digest for path, verdict in verdicts.items() if verdict is Verdict.NEWS}
        news = {path: digest for path, digest in news.items() if path not in own}
        if news:
            began = time.monotonic()
            await self._report(news, {path: data for path in news if (data := readings[path].data) is not None})
            # Changes that come faster than they can be loaded are a storm, on a slow machine too.
            now, self._in_a_row = time.monotonic(), self._in_a_row + 1
            self._storms_until = now + max(_STORM_GAP, now - began)
        same = {p for p, verdict in verdicts.items() if verdict is Verdict.SAVED_THE_SAME and p.name != LISTING}
        # An ignored path may have become a source with this very change.
        _, strange = self._split(others)
        paths = {Path(each) for each in strange.difference(self._written(), self._ground.directories)}
        self._explainer.explain(same, paths - {self._rules_file}, self._rules, time.monotonic())

    def _split(self, names: Iterable[str]) -> tuple[set[Path], set[str]]:
        """Return the sources that have these names, and the names of no source."""
        if not names:
            return set(), set()
        known = self._all_known()
        sources, others = set(), set()
        for name in names:
            found = {each for each in (Path(name), *self._ground.aliases.get(name, ())) if each in known}
            # A new file in a folder that a mod has listed is a change, before any mod has read it.
            listing = {each for each in (Path(name).with_name(LISTING), Path(name, LISTING)) if each in known}
            for path in found | listing:
                self._memory.expect(path, known.get(path))
            sources |= found | listing
            if not found:
                others.add(name)
        return sources, others

    async def _read(self, paths: set[Path]) -> dict[Path, settle.Reading]:
        """Read these sources, and those that are saved meanwhile: they belong to the same change.

        A source that is still being written is waited for briefly together with the others, and
        then alone.
        """
        began = time.monotonic()
        until, together = began + settle.PATIENCE, math.inf
        found: dict[Path, settle.Reading] = {}
        while paths or self._unsettled:
            for path in paths:
                known, was_open = self._memory.seen(path)
                self._unsettled[path] = settle.Settling(path, known=known, was_open=was_open)
            found |= await self._reader.run(self._take_whole)
            now = time.monotonic()
            together = min(together, now + _TOGETHER) if found else math.inf
            slow = [each for each in self._unsettled.values() if not each.was_open]
            if found and (now >= together or not slow):
                paths = await self._saved_together(began + AT_MOST)
                if not paths:
                    break
            else:
                paths = self._saved_meanwhile() if now < until else set()
        return found

    def _take_whole(self) -> dict[Path, settle.Reading]:
        """Return the sources that are whole; a refused place holds nothing to load."""
        found = settle.take_whole(self._unsettled, _LOOK)
        for path, each in found.items():
            judged = self._roots.judged(path, each.digest)
            if judged != each.digest:
                found[path] = replace(each, digest=judged, data=None)
            elif judged is not None and each.data is not None and judged != self._memory.seen(path)[0]:
                self._whole(path, each.data, judged)
        return found

    def _saved_meanwhile(self) -> set[Path]:
        sources, others = self._split(self._notified)
        self._notified = others
        return sources

    async def _saved_together(self, at_most: float) -> set[Path]:
        """Return the sources that were saved while others were read, or within the quiet time of these."""
        found: set[Path] = set()
        while not found and (now := time.monotonic()) < at_most:
            found = self._saved_meanwhile()
            rest = min(self._latest + TOGETHER, at_most) - now
            # The loop waits for whole milliseconds.
            if not found and (rest < TOGETHER / 4 or not await self._comes_within(rest)):
                break
        return found

    def _beside(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Run a task beside the watch, which ends with it."""
        task = asyncio.create_task(work)
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)
        return task

    def _is_own_change(self, listing: Path, reading: settle.Reading) -> bool:
        """Return whether a folder's new or missing entries are files that mods have written."""
        before, _ = self._memory.seen(listing)
        if before is None or reading.digest is None:
            return False
        changed = names_of(before) ^ names_of(reading.digest)
        written = self._written()
        return all(str(listing.with_name(name)) in written for name in changed)

    async def _report(self, news: dict[Path, Digest | None], texts: Texts) -> None:
        self._seen.update({path: digest for path, digest in news.items() if path in self._seen})
        # Before network.yaml, which may list its new mods.
        if self._lock_file in news and self._on_lock is not None:
            await self._guarded(self._on_lock())
        if self._config_file in news:
            await self._guarded(self._on_config())
        known = self._known()
        changed = {path: digest for path, digest in news.items() if path in known}
        if changed:
            # Long work is not waited for: a save meanwhile may end it.
            await asyncio.wait({self._beside(self._guarded(self._on_change(changed, texts)))}, timeout=_REPORT)
        # The loader reads a source once more: a save of just then may be loaded and gone again.
        self._split(map(str, news))

    async def _git_was_busy(self) -> bool:
        """Wait while git holds its lock and files keep changing: a checkout is one change."""
        lock = git_lock(self._roots.workspace)
        held = settle.signature(lock) if lock is not None else None
        if lock is None or held is None or held == self._stale_lock:
            return False
        quiet = until = time.monotonic() + _GIT_PATIENCE
        seen = -1
        while lock.exists() and time.monotonic() < min(quiet, until):
            if len(self._notified) != seen:
                seen, quiet = len(self._notified), time.monotonic() + _GIT_QUIET
            await asyncio.sleep(0.005)
        # Git that waits for a person, or was killed, is waited for once.
        self._stale_lock = settle.signature(lock)
        return True

    # What to watch

    def _learn_if_due(self) -> None:
        """Ask for all known sources again. A single one is asked for when something happens."""
        began = time.monotonic()
        if began < self._asks.due:
            return
        if self._memory.learn(dict(self._all_known())):
            self._look_for_missed()
        self._asks.rest(time.monotonic() - began)

    def _all_known(self) -> Sources:
        return ChainMap(self._seen, cast(dict[Path, Digest | None], self._known()))

    async def _explore(self, notified: set[str]) -> set[str]:
        """Follow directories that came or went; return the files that came with them."""
        before = self._ground.directories
        await self._follow()
        came = self._ground.directories - before
        walks = [await run_in_thread(walk, Path(each), self._rules) for each in notified & came]
        return {str(path) for each in walks for path in each.files}

    async def _follow(self) -> None:
        """Watch the directories of sources, and those where new ones may appear."""
        known = [*self._all_known(), self._rules_file]
        self._ground = await run_in_thread(survey, known, self._top_folders(known), self._rules)
        self._stamps = await run_in_thread(stamps, self._ground.directories)
        self._notifier.watch(self._ground.directories)
        self._tell_of_gaps()

    def _tell_of_gaps(self) -> None:
        """Tell once of each folder that is not, or not wholly, watched."""
        ground, shown = self._ground, self._roots.shown
        most = f"holds more than {MAX_DIRECTORIES} directories; changes in the others are not seen"
        gaps = {str(folder): f"{shown(folder)} {most}" for folder in ground.truncated}
        gaps |= {str(each): f"{shown(each)} may not be read; changes in it are not seen" for each in ground.unreadable}
        for words in (words for folder, words in gaps.items() if folder not in self._said):
            self._notice(words)
        # A folder that can be read again, and later not, is told of again.
        self._said = set(gaps)

    def _top_folders(self, sources: Iterable[Path]) -> list[Path]:
        """Return the folders of mods and their helpers, and ours if it is in the workspace."""
        named = {Path(os.path.normpath(self._roots.workspace / each)) for each in self._folders()}
        parents = {path.parent for path in sources if path.suffix == ".py"}
        own = {self._roots.own} if self._roots.own.is_relative_to(self._roots.workspace) else set()
        tops = {*named, *own, *(self._top_of(each) for each in parents)}
        return sorted(each for each in tops if each != self._roots.workspace and os.path.isdir(each))

    def _top_of(self, directory: Path) -> Path:
        for root in self._roots.folders:
            if directory.is_relative_to(root):
                parts = directory.relative_to(root).parts
                return root / parts[0] if root == self._roots.workspace and parts else root
        return directory


class Pace:
    """When to repeat a task: after `least` to `most` seconds, and within this share of time."""

    def __init__(self, least: float, most: float, share: float) -> None:
        self._least = least
        self._most = most
        self._share = share
        self.due = 0.0

    def rest(self, took: float) -> None:
        """Note that the task was done, in that many seconds."""
        self.due = time.monotonic() + min(max(self._least, took / self._share), self._most)


def _identities(found: Mapping[str, Stamp | None]) -> dict[str, tuple[int, int] | None]:
    return {path: stamp and stamp[:2] for path, stamp in found.items()}


def _text(file: Path) -> str:
    try:
        return (read_bytes(file) or b"").decode("utf-8", "replace")
    except OSError:
        return ""
