"""Packages from outside: what a trigger brings of them, and what a lock means for mods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from devserver.live.generation import Generation
from devserver.loader.environment import Environment, News
from devserver.market.folder import Installed
from devserver.model.change import LoadAsked, LockChanged, Trigger
from devserver.model.config import NetworkConfig
from devserver.model.facts import PackagesInstalled
from devserver.model.names import LOCK, in_range, module_of
from devserver.model.split import label_of
from devserver.reload.plan.situation import LockNews


def lock_news(live: Iterable[Generation], news: News, now: Installed | None) -> LockNews:
    """Return the changes of a lock, in terms of mods that run."""
    owners = {module_of(each.mod_path): news.distribution.get(each.entry, "") for each in live}
    waiting = {}
    for path, owner in owners.items():
        needed = news.blocked.get(owner, ()) if owner in news.changes else ()
        if needed and now is not None:
            versions = ", ".join(f"{each} {news.imported[each][1]}" for each in needed)
            running = ", ".join(news.imported[each][0] for each in needed)
            new = now.packages[owner].version
            waiting[path] = f"{owner} {new} needs {versions}, and {running} is imported: a restart takes it"
    back = {path: said for path, owner in owners.items() if (said := _back(path, owner, news, now))}
    return LockNews(
        moved=news.moved,
        changes={path: news.changes[owner] for path, owner in owners.items() if owner in news.changes},
        waiting=waiting,
        gone=frozenset(path for path, owner in owners.items() if owner in news.gone and path not in back),
        back=back,
        imported=news.imported,
    )


def _back(path: str, owner: str, news: News, now: Installed | None) -> str:
    """Return the version of its own package that a mod with the code of a promoted line has to run; empty for none.

    It is the one of the lock where that no longer has the line, or has the same version without it.
    """
    own = now.packages.get(now.mods.get(path, "")) if now is not None else None
    if now is None or own is None or "@" not in owner:
        return ""
    line = now.packages.get(owner)
    is_same = line is not None and line.version == own.version
    return f"{now.mods[path]} {own.version} of the lock" if owner in news.gone or is_same else ""


def unsuited(config: NetworkConfig, installed: Installed | None) -> tuple[str, ...]:
    """Return the versions that network.yaml wants and the lock has otherwise, in words."""
    if installed is None:
        return ()
    wanted = [each for each in config.enabled_specs if each.version]
    pairs = ((each, installed.packages.get(_owner(each.path, installed))) for each in wanted)
    return tuple(
        f"network.yaml:{spec.line} wants {spec.path} {spec.version}, and {locked.version} is locked: oa-dev sync"
        for spec, locked in pairs
        if locked is not None and not in_range(spec.version, locked.version)
    )


def _owner(path: str, installed: Installed) -> str:
    """Return the distribution of a mod of the lock; that of a line has the line's name."""
    return path if label_of(path) is not None else installed.mods.get(module_of(path), "")


def use_packages(
    trigger: Trigger, environment: Environment, use_lock: Callable[[], None], workspace: Path
) -> PackagesInstalled | None:
    """Take the packages that a trigger brings; return what they change, or None."""
    began, before = time.monotonic(), environment.current
    if isinstance(trigger, LockChanged):
        use_lock()
    elif isinstance(trigger, LoadAsked) and trigger.packages is not None:
        environment.add(trigger.packages)
    now, moved = environment.current, environment.moved_since(before)
    if now is None or not moved:
        return None
    env = str(now.folder.relative_to(workspace))
    return PackagesInstalled(lock=LOCK, env=env, packages=moved, duration_ms=(time.monotonic() - began) * 1000)
