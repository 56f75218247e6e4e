"""Watches files outside of mods that decide on a run: packages, our own code, settings."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

from devserver.config.settings import Settings, changed_files
from devserver.live.loops import Worker
from devserver.loader.installed import InstalledCode
from devserver.model.facts import Ignored

_INTERVAL, _AT_MOST = 0.5, 1.5
"""Seconds between two comparisons with the loaded code: some hundred calls of stat, or thousands."""
_CHANGED = "{} changed, which is read at the start"
_TIMES = 150
"""How many times as long as a comparison the rest after it is."""


class Outside:
    """The changes on disk that only a restart applies. `is_watched` and `began` are those of
    `InstalledCode`. `restart` gets the reasons, `forget` those that are
    none any more. `look_for_packages` looks whether the lock was installed meanwhile."""

    def __init__(
        self,
        is_watched: Callable[[Path], bool],
        began: float,
        settings: Settings | None,
        folder: Path,
        *,
        restart: Callable[[tuple[str, ...]], object],
        forget: Callable[[Collection[str]], object],
        look_for_packages: Callable[[], Awaitable[None]],
    ) -> None:
        self._installed = InstalledCode(is_watched, began)
        self._settings, self._folder = settings, folder
        self._restart, self._forget, self._look_for_packages = restart, forget, look_for_packages
        self._told: Mapping[str, object] = {}

    async def run(self) -> None:
        """Ask for a restart whenever something differs from the loaded code."""
        worker = Worker("oa-dev installed")
        try:
            while True:
                began = time.monotonic()
                changed = (*await worker.run(self._installed.changed), *self._changed_settings())
                took = time.monotonic() - began
                if changed:
                    self._restart(changed)
                await self._look_for_packages()
                await asyncio.sleep(min(max(_INTERVAL, took * _TIMES), _AT_MOST))
        finally:
            worker.stop()

    def is_brought(self, save: Ignored, workspace: Path) -> bool:
        """Return whether a save that reloads nothing has an effect, or is a step of an editor's."""
        if save.path in self._changed_files():
            return True
        file = workspace / save.path
        return self._installed.holds(file) or not os.path.lexists(file)

    def _changed_settings(self) -> list[str]:
        """Return the files that are read at the start and have changed since, each content once."""
        before, self._told = self._told, self._changed_files()
        self._forget([_CHANGED.format(name) for name in before.keys() - self._told.keys()])
        return [_CHANGED.format(name) for name, now in sorted(self._told.items()) if (name, now) not in before.items()]

    def _changed_files(self) -> Mapping[str, object]:
        return {} if self._settings is None else changed_files(self._settings, self._folder)
