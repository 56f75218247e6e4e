"""Sees what changed on disk: compares the contents of known sources with what was last seen of them.

Level-triggered. A notification, or a slow sweep where none came, only says that it is worth comparing; what is reported
follows from what is on disk, however it got there. Executes nothing and decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from devserver.model.change import Digest, Sources
from devserver.model.facts import Ignored
from devserver.reload.ignore import Rules, walk
from devserver.reload.loader import Roots
from devserver.reload.notify import Notifier
from devserver.reload.settle import Signature, settled, signature

SWEEP = 1.0
"""Seconds between two looks at all known sources without any notification."""

GONE_AFTER = 1.0
"""Seconds that a source has to be missing before it counts as deleted: a branch switch brings it back sooner."""

_SWEEP_SHARE = 200
_GIT_PATIENCE = 10.0

OnChange = Callable[[Sources], Awaitable[None]]


class Watch:
    """Watches the sources of what runs.

    Arguments: `known`, all sources with the digests they were loaded with; `config_file`, network.yaml, which is
    reported through `on_config`; `on_change`, awaited with the sources that differ; `ignored`, told of saves that led
    to nothing; `notice`, told how it watches where that is not as usual; `folders`, where mods are looked for.
    """

    def __init__(
        self,
        roots: Roots,
        known: Callable[[], Sources],
        config_file: Path,
        *,
        on_change: OnChange,
        on_config: Callable[[], Awaitable[None]],
        ignored: Callable[[Ignored], None],
        notice: Callable[[str], None],
        folders: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._roots = roots
        self._known = known
        self._config_file = config_file
        self._on_change = on_change
        self._on_config = on_config
        self._ignored = ignored
        self._folders = folders
        self._rules = Rules(roots.workspace, _gitignore(roots.workspace))
        self._notifier = Notifier(self._wake, notice)
        self._woken = asyncio.Event()
        self._paths: set[str] = set()
        self._seen: dict[Path, Digest | None] = {}
        self._signatures: dict[Path, Signature | None] = {}
        self._missing: dict[Path, float] = {}

    @property
    def kind(self) -> str:
        """How it watches, for people."""
        return self._notifier.kind

    def watched(self) -> tuple[str, ...]:
        """The top folders that are watched, for people."""
        tops = (each.relative_to(self._roots.workspace).parts for each in self._top_folders() if self._is_inside(each))
        return (*(f"{parts[0]}/" for parts in tops if parts), self._config_file.name)

    async def run(self) -> None:
        """Watch until cancelled."""
        self._follow()
        due = time.monotonic() + SWEEP
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - time.monotonic())):
                        await self._woken.wait()
                self._woken.clear()
                paths, self._paths = {Path(each) for each in self._paths}, set()
                if paths:
                    await self._look(paths)
                if time.monotonic() >= due:
                    due = await self._sweep()
        finally:
            self._notifier.stop()

    def _wake(self, paths: set[str]) -> None:
        self._paths |= paths
        self._woken.set()

    # Looking

    async def _sweep(self) -> float:
        """Look at every known source; when to do so again. A sweep never takes more than half a percent of the time."""
        began = time.monotonic()
        self._follow()
        moved = [path for path in (*self._seen, self._config_file) if signature(path) != self._signatures.get(path)]
        overdue = [path for path, since in self._missing.items() if began - since >= GONE_AFTER]
        took = time.monotonic() - began
        if moved or overdue:
            await self._look({*moved, *overdue})
        return time.monotonic() + max(SWEEP, took * _SWEEP_SHARE)

    async def _look(self, paths: set[Path]) -> None:
        await self._git_is_done()
        sources = self._sources()
        relevant = {path for path in paths if path in sources or path == self._config_file}
        others = paths - relevant
        found = await settled(relevant)
        # What was saved meanwhile belongs to the same plan.
        while more := self._drain(sources):
            found.update(await settled(more))
        changed = {path: digest for path, digest in found.items() if self._is_news(path, digest)}
        self._explain({*others, *(path for path in found if path not in changed)}, sources)
        if changed.pop(self._config_file, _NOT_THERE) is not _NOT_THERE:
            await self._on_config()
        if changed:
            await self._on_change(changed)
        self._follow()

    def _drain(self, sources: Sources) -> set[Path]:
        more = {Path(each) for each in self._paths}
        relevant = {path for path in more if path in sources or path == self._config_file}
        self._paths -= {str(path) for path in relevant}
        return relevant

    def _is_news(self, path: Path, digest: Digest | None) -> bool:
        """Whether a source holds something else than when it was last seen. A missing one counts after a while."""
        now = time.monotonic()
        is_gone = digest is None and self._seen.get(path) is not None
        if is_gone and now - self._missing.setdefault(path, now) < GONE_AFTER:
            return False
        self._missing.pop(path, None)
        news = self._seen.get(path) != digest
        if news:
            self._seen[path] = digest
            self._signatures[path] = signature(path)
        return news

    async def _git_is_done(self) -> None:
        """A checkout is one change: wait while git holds its lock."""
        lock = self._roots.workspace / ".git" / "index.lock"
        until = time.monotonic() + _GIT_PATIENCE
        while lock.exists() and time.monotonic() < until:  # noqa: ASYNC110  # another process holds it
            await asyncio.sleep(0.01)

    # Why nothing happened

    def _explain(self, paths: set[Path], sources: Sources) -> None:
        for path in sorted(paths):
            if path in sources or path == self._config_file:
                self._explain_same(path)
            elif rule := self._why_no_source(path):
                self._ignored(Ignored(self._roots.shown(path), rule))

    def _explain_same(self, path: Path) -> None:
        """Say that a save changed nothing; once, though the system may notify of it twice."""
        now = signature(path)
        if now is not None and path not in self._missing and now != self._signatures.get(path):
            self._signatures[path] = now
            self._ignored(Ignored(self._roots.shown(path), "same content"))

    def _why_no_source(self, path: Path) -> str | None:
        """The rule behind a save that led to nothing; None where no person saved anything."""
        now = signature(path)
        if now is None or not path.is_file() or now == self._signatures.get(path):
            return None
        self._signatures[path] = now
        rule = self._rules.why_ignored(path)
        if rule is not None:
            return rule if rule.startswith(".gitignore") else None
        if path.suffix == ".py":
            return "no mod imports it" if self._roots.holds(path) else "not code of a mod: restart to use it"
        return "not code, not read by a mod"

    # What to watch

    def _sources(self) -> Sources:
        """All known sources; those that are new are remembered as they were loaded."""
        known = self._known()
        for path, digest in known.items():
            if path not in self._seen:
                self._seen[path] = digest
                self._signatures[path] = signature(path) if digest is not None or not path.exists() else None
        for path in [each for each in self._seen if each not in known and each != self._config_file]:
            del self._seen[path]
            self._missing.pop(path, None)
        return known

    def _follow(self) -> None:
        """Watch the directories that sources are in now, and those that new ones may appear in."""
        sources = self._sources()
        wanted = {path.parent for path in sources if path.parent.is_dir()}
        for top in self._top_folders():
            wanted.update(walk(top, self._rules).directories)
        if self._config_file not in self._seen:
            self._seen[self._config_file] = None
        if self._notifier.watch({*wanted, self._config_file.parent}):
            # Between two sets of watches something may have been missed.
            self._paths.update(str(path) for path in sources)
            self._woken.set()

    def _top_folders(self) -> list[Path]:
        """The folders below which mods and their helpers lie."""
        named = {self._roots.workspace / folder for folder in self._folders()}
        loaded = {self._top_of(path) for path in self._known() if path.suffix == ".py"}
        return sorted(each for each in {*named, *loaded} if each != self._roots.workspace and each.is_dir())

    def _top_of(self, path: Path) -> Path:
        for root in self._roots.folders:
            if path.is_relative_to(root):
                parts = path.relative_to(root).parts
                inside = root == self._roots.workspace and len(parts) > 1
                return root / parts[0] if inside else root
        return path.parent

    def _is_inside(self, path: Path) -> bool:
        return path.is_relative_to(self._roots.workspace)


_NOT_THERE = "not there"


def _gitignore(workspace: Path) -> str:
    try:
        return (workspace / ".gitignore").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
