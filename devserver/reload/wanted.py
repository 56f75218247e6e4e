"""What a workspace wants from outside, by network.yaml, sources, lock and catalogues.

Reads and decides; changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devserver import __version__
from devserver.errors import DevServerError, ModNotFound
from devserver.loader.distributions import installed_here, server_packages, tops_here
from devserver.loader.locate import locate
from devserver.market.catalogue import BUILT_IN, Catalogue, find
from devserver.market.lock import Lock
from devserver.market.manifest import declared_in
from devserver.market.requirements import parse_requirement
from devserver.market.wants import BadWants, Beside, Listed, Needing, Wants
from devserver.model.config import ModSpec, NetworkConfig
from devserver.model.declared import Declarations
from devserver.model.names import module_of, normal
from devserver.sources.files import read_bytes
from devserver.sources.roots import Roots

SERVER = "oa-dev"


@dataclass(frozen=True, slots=True)
class _Own:
    """A mod of the workspace with its declarations."""

    path: str
    declared: Declarations


def wants_of(
    config: NetworkConfig,
    workspace: Path,
    lock: Lock,
    catalogues: Sequence[Catalogue] = (),
    *,
    more: Sequence[Listed] = (),
    file: str = "network.yaml",
) -> Wants:
    """Return all wants together. `more` are mods that network.yaml is about to list.

    A mod that is not in the workspace comes from outside if the lock has it, network.yaml names a
    version of it, or the catalogue of an index lists it: a mistyped name is searched nowhere.
    """
    own, listed, beside = [], [], list[Beside]()
    for spec in config.enabled_mods:
        found = _own(spec.path, workspace)
        name = None if found is not None else _distribution(spec, lock, catalogues)
        if found is not None:
            own.append(found)
        elif name is not None:
            listed.append(Listed(module_of(spec.path), name, spec.version, spec.line))
        beside += _beside(spec, name, file)
    known = {normal(each.name) for each in more}
    listed = [each for each in listed if normal(each.name) not in known] + list(more)
    own = list(_with_needed(own, workspace))
    here = installed_here()
    server = {SERVER: __version__, **server_packages()}
    return Wants(
        listed=tuple(listed),
        needing=tuple(_needing(each, workspace, lock, catalogues) for each in own),
        beside=tuple(beside),
        server=server,
        extras={name: here[name][1] for name in server if name in here},
        server_version=__version__,
        indexes=config.indexes,
        packages=config.packages,
        cooldown=config.cooldown,
        file=file,
    )


def _beside(spec: ModSpec, name: str | None, file: str) -> Iterator[Beside]:
    """Yield the versions that network.yaml wants beside a mod. Raises BadWants without one."""
    for each in spec.versions:
        if not each.version or not each.enabled:
            continue
        place = f"{file}:{each.line}" if each.line else file
        if name is None:
            raise BadWants(f"{place} wants {each.path} {each.version}, and {spec.path} does not come from an index")
        yield Beside(each.path, name, each.version, place)


def _own(mod_path: str, workspace: Path) -> _Own | None:
    """Return a mod of the workspace with its declarations; None for one that does not exist."""
    roots = Roots(workspace)
    try:
        with _first_on_path(workspace):
            file = locate(mod_path, roots).file
        if not roots.holds(file) or not file.resolve().is_relative_to(roots.workspace):
            return None
        return _Own(module_of(mod_path), declared_in(file, read_bytes(file) or b""))
    except ModNotFound:
        return None
    except (DevServerError, OSError, SyntaxError, ValueError):
        # It exists, and its load will report the error.
        return _Own(module_of(mod_path), Declarations())


@contextmanager
def _first_on_path(workspace: Path) -> Iterator[None]:
    """Look into a workspace first, as a server does, before other folders `mods`."""
    if str(workspace) in sys.path:
        # A running server has put it there, and its threads import meanwhile.
        yield
        return
    sys.path.insert(0, str(workspace))
    try:
        yield
    finally:
        sys.path.remove(str(workspace))


def _distribution(spec: ModSpec, lock: Lock, catalogues: Sequence[Catalogue]) -> str | None:
    path = module_of(spec.path)
    if path in lock.mods:
        return lock.mods[path]
    # What is built in has no index: a public package of that name is another one. `add` brings it.
    found = find([each for each in catalogues if each.name != BUILT_IN], path)
    if found is not None:
        return normal(found.name)
    return normal(path) if spec.version else None


def _with_needed(own: list[_Own], workspace: Path) -> Iterator[_Own]:
    """Return mods of the workspace, and those of it that they need."""
    seen = {each.path for each in own}
    for each in own:
        yield each
        for text in each.declared.requires:
            try:
                path = module_of(parse_requirement(text).path)
            except ValueError:
                continue
            if path not in seen and (found := _own(path, workspace)) is not None:
                seen.add(path)
                own.append(found)


def _needing(mod: _Own, workspace: Path, lock: Lock, catalogues: Sequence[Catalogue]) -> Needing:
    """Return a workspace mod's needs for others' code: packages, and distributions of mods."""
    needs, places = list(mod.declared.packages), []
    for text in mod.declared.requires:
        try:
            needed = parse_requirement(text)
        except ValueError:
            continue
        path = module_of(needed.path)
        if _own(path, workspace) is None:
            name = _distribution(ModSpec(path), lock, catalogues)
            if name is not None:
                needs.append(f"{name}{needed.range}")
    for text in (*mod.declared.packages, *mod.declared.requires):
        place = mod.declared.where.get(text)
        if place is not None:
            file = place.file
            shown = file.relative_to(workspace) if file.is_relative_to(workspace) else file
            places.append(f"{shown}:{place.line}")
    return Needing(mod.path, mod.declared.version, tuple(needs), next(iter(places), ""))


def taken_names(workspace: Path) -> dict[str, str]:
    """Return the top names that no package may bring, each with its owner in words."""
    own = {each.stem if each.suffix == ".py" else each.name for each in workspace.iterdir()
           if each.suffix == ".py" or (each.is_dir() and any(each.glob("*.py")))}  # fmt: skip
    return {**dict.fromkeys(tops_here(), "oa-dev itself uses"), **dict.fromkeys(own, "lies beside network.yaml")}
