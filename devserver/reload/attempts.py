"""Failed attempts on mods, with what each depended on: a change of that repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.model.change import Sources
from devserver.model.facts import Outcome, Status
from devserver.model.names import mod_name_problem, module_of
from devserver.sources.roots import Roots


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last attempt on a mod, which failed: what it depended on, and its outcome."""

    touched: Sources
    outcome: Outcome
    needs: tuple[str, ...] = ()
    """The mods (plain paths) whose absence was the reason."""
    packages: tuple[str, ...] = ()
    """The Python packages whose absence was the reason."""
    loads_elsewhere: bool = False
    """Whether a fresh process loads the same sources: a restart applies them."""
    config: Mapping[str, Any] | None = None
    """The configuration that was tried; None if it is not known, or nothing was."""


def changed_of(sources: Sources, now: Sources) -> list[Path]:
    """Return the sources whose digests differ in `now`."""
    return [path for path, digest in now.items() if path in sources and sources[path] != digest]


def is_held(attempt: Attempt | None) -> bool:
    """Return whether a mod was not tried, because its source is gone."""
    return attempt is not None and attempt.outcome.status is Status.SKIPPED and not attempt.needs


def moved_on(attempt: Attempt, changed: Sources) -> bool:
    """Return whether a source that a failed attempt depended on has changed."""
    return bool(changed_of(attempt.touched, changed))


def places_of(mod_path: str, roots: Roots) -> tuple[Path, ...]:
    """Return the places of a mod and of the packages on the way; nothing for an invalid name."""
    if mod_name_problem(mod_path) is not None:
        return ()
    *packages, last = module_of(mod_path).split(".")
    folders = [roots.workspace.joinpath(*packages[: depth + 1]) for depth in range(len(packages))]
    base = roots.workspace.joinpath(*packages, last)
    above = (folder / "__init__.py" for folder in folders)
    return base / "mod.py", base / "__init__.py", base.with_suffix(".py"), *above
