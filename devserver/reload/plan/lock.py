"""The effects of a changed lock: other versions of mods by ordinary reloads, new ones by loads.

Pure, as all of `plan`. An imported package of other people stays until a restart, and so do the
mods whose new version needs another version of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from devserver.model.change import LockChanged
from devserver.model.lifecycle import Action
from devserver.model.names import module_of
from devserver.model.plan import Hold, NotApplied, Plan, Step
from devserver.reload.plan.loads import loads
from devserver.reload.plan.reloads import reloads, together, with_stale
from devserver.reload.plan.settings import order_of
from devserver.reload.plan.situation import LockNews, Situation


def for_lock(trigger: LockChanged, situation: Situation) -> Plan:
    """Decide what becomes of the mods that come from outside."""
    news = situation.lock
    if news is None or news.problem:
        return Plan(trigger.cause)
    waiting = [mod for mod in situation.live if module_of(mod.mod_path) in news.waiting]
    kept = {name for mod in waiting for name in situation.needs_of(mod) & news.moved.keys()}
    retried = situation.retried
    moved = with_stale({name: path for name, path in news.moved.items() if name not in kept}, retried, situation)
    forced = {
        mod.mod_id: news.changes[path]
        for mod in situation.live
        if (path := module_of(mod.mod_path)) in news.changes and mod.entry in moved
    }
    groups = together([*reloads(situation, moved, forced), *_back(news, situation)], situation)
    wanted = [spec for spec in situation.config.enabled_mods if situation.at(spec.path) is None]
    # Mods that are still missing have been told of before.
    found = [spec for spec in wanted if module_of(spec.path) not in situation.absent]
    coming = loads(found, situation, "installed", listed=True)
    return Plan(
        trigger.cause,
        (*groups, *coming.groups),
        (*_waiting(news, situation), *_gone(news, situation), *coming.holds),
        tuple(NotApplied(name, *versions) for name, versions in news.imported.items()),
        order=order_of(situation.config, situation) if coming.steps else None,
    )


def _back(news: LockNews, situation: Situation) -> Iterator[Step]:
    """Yield the reloads of mods that were promoted, and whose own package has the version now."""
    for mod in situation.live:
        path = module_of(mod.mod_path)
        if path not in news.back:
            continue
        # What is still loaded of the package is of the version before the promotion.
        before = tuple(name for name in news.moved if name == path or name.startswith(f"{path}."))
        yield Step(
            Action.RELOAD,
            mod.mod_id,
            mod.mod_path,
            news.back[path],
            config=mod.config,
            modules=before,
            listed=mod.listed,
            code=path,
        )


def _waiting(news: LockNews, situation: Situation) -> list[Hold]:
    """Return the mods whose new version is impossible in this process."""
    return [
        Hold(Action.RELOAD, mod.mod_id, words)
        for mod in situation.live
        if (words := news.waiting.get(module_of(mod.mod_path))) is not None
    ]


def _gone(news: LockNews, situation: Situation) -> list[Hold]:
    """Return the mods that run and are listed, and that the lock does not have any more."""
    found = [mod for mod in situation.live if module_of(mod.mod_path) in news.gone and mod.listed]
    reason = "it is not in pylock.oa-dev.toml any more: oa-dev sync locks it, oa-dev remove ends it"
    return [Hold(Action.RELOAD, each.mod_id, reason) for each in found]
