"""Watches files outside of mods that decide on a run: packages, our own code, settings."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from devserver.config.settings import Settings, has_changed
from devserver.live.loops import Worker
from devserver.loader.installed import InstalledCode
from devserver.model.facts import Ignored

_INTERVAL, _AT_MOST = 0.5, 1.5
"""Seconds between two comparisons with the loaded code: some hundred calls of stat, or thousands."""
_TIMES = 150
"""How many times as long as a comparison the rest after it is."""


class Outside:
    """The changes on disk that only a restart applies. `is_watched` and `began` are those of
    `InstalledCode`. `restart` gets the reasons.
    `look_for_packages` looks whether the lock was installed meanwhile."""

    def __init__(
        self,
        is_watched: Callable[[Path], bool],
        began: float,
        settings: Settings | None,
        folder: Path,
        *,
        restart: Callable[[tuple[str, ...]], object],
        look_for_packages: Callable[[], Awaitable[None]],
    ) -> None:
        self._installed = InstalledCode(is_watched, began)
        self._settings, self._folder = settings, folder
        self._restart, self._look_for_packages = restart, look_for_packages
        self._told: set[str] = set()

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
        if self._settings is not None and has_changed(self._settings, self._folder, save.path):
            return True
        file = workspace / save.path
        return self._installed.holds(file) or not os.path.lexists(file)

    def _changed_settings(self) -> list[str]:
        """Return the files that are read at the start and have changed since, each once."""
        settings = self._settings
        names = settings.files if settings is not None else ()
        changed = {name for name in names if settings is not None and has_changed(settings, self._folder, name)}
        news, self._told = sorted(changed - self._told), changed
        return [f"{name} changed, which is read at the start" for name in news]
