"""Brings a mod of a catalogue into the network for this run: no file of people changes.

A person has read what it does: what is brought has the digest that was shown. Its packages are
resolved with all else that is locked, and lie in a folder of their own below `.oa-dev/env`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.errors import DevServerError
from devserver.live.loops import run_in_thread
from devserver.market import shown, sync
from devserver.market.catalogue import BUILT_IN, Catalogue, Found
from devserver.market.folder import alone, private_folder, write_record
from devserver.market.shelf import Shelf
from devserver.market.sync import NothingSuits, Ready
from devserver.market.wants import Listed
from devserver.market.wheel import build_built_in, needed_built_in
from devserver.model.change import LoadAsked
from devserver.model.config import NetworkConfig
from devserver.model.event import EventResponse
from devserver.model.names import module_of
from devserver.reload.outcomes import response_of
from devserver.reload.wanted import taken_names, wants_of

if TYPE_CHECKING:
    from devserver.reload.engine import Engine

_INDEX = ".oa-dev/added"
"""The folder index of wheels that were built for this run."""


class NotAdded(DevServerError):
    """A mod that was not brought. `code` is the reason for programs."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A mod that lies ready: `paths`: its mods, `facts`: what was read, `folder`: its packages."""

    name: str
    version: str
    sha256: str
    paths: tuple[str, ...]
    folder: Path
    facts: Mapping[str, Any]
    ready: Ready

    @property
    def entry(self) -> str:
        """The lines of network.yaml that keep it."""
        return "\n".join(f'- name: {each}\n  version: "~={_two(self.version)}"' for each in self.paths)


def _two(version: str) -> str:
    return ".".join((*version.split("."), "0")[:2])


class Adding:
    """The mods that were brought for this run, one at a time."""

    def __init__(self, workspace: Path, engine: Engine, shelf: Shelf) -> None:
        self._workspace, self._engine, self._shelf = workspace, engine, shelf
        environment = engine.environment
        running = {environment.mods.get(module_of(each.mod_path)) for each in engine.registry.live if not each.listed}
        # Those that an earlier image of this process has brought.
        brought = environment.versions_of(running)
        self._more = {name: Listed(name, name, f"=={version}") for name, version in brought.items()}

    async def bring(
        self,
        name: str,
        approve: Callable[[Mapping[str, Any]], bool | Awaitable[bool]],
        *,
        version: str,
        sha256: str,
        config: Mapping[str, Any],
    ) -> EventResponse:
        """Install a mod, have it approved, and load it; see `AgentNetwork.install`."""
        try:
            catalogues = (await self._shelf.listed()).catalogues
            added = await run_in_thread(self._prepare, self._engine.config, catalogues, name, version, sha256)
        except DevServerError as error:
            code = error.code if isinstance(error, NotAdded) else "not_added"
            return EventResponse(False, str(error), {"code": code})
        agreed = approve({**added.facts, "name": added.name, "version": added.version, "sha256": added.sha256})
        if not (await agreed if inspect.isawaitable(agreed) else agreed):
            return EventResponse(False, f"{added.name} {added.version} was not approved", {"code": "not_approved"})
        data: dict[str, Any] = {"name": added.name, "version": added.version, "entry": added.entry, "loaded": []}
        for path in added.paths:
            asked = LoadAsked(path, dict(config), f"installed {added.name}", packages=added.folder)
            response = response_of(await self._engine.submit(asked), path)
            if not response.success:
                return response
            data["loaded"].append(response.data)
        # What is brought later is resolved together with this.
        self._more[added.name] = Listed(added.name, added.name, f"=={added.version}")
        return EventResponse(True, f"{added.name} {added.version} runs until this server ends", data)

    def _prepare(
        self, config: NetworkConfig, catalogues: Sequence[Catalogue], name: str, version: str, sha256: str
    ) -> Added:
        """Install a mod beside what runs. With `sha256` only what has that digest. Raises NotAdded,
        and what finding, building, resolving and installing raise."""
        found = shown.find_listed(catalogues, name)
        blocked = found.entry.blocked_for(version or found.version or "")
        if blocked:
            raise NotAdded("blocked", f"{found.name} is blocked by {found.catalogue.name}: {blocked}")
        with alone(self._workspace):
            if found.catalogue.name == BUILT_IN:
                folder = private_folder(self._workspace / _INDEX)
                for each in (*needed_built_in(found.name), found.name):
                    build_built_in(each, folder)
            try:
                return self._installed(config, catalogues, found, version, sha256)
            except NothingSuits as error:
                raise NotAdded("nothing_suits", f"{error}: {error.why.sentence or error.why.raw[:300]}") from error

    def _installed(
        self, config: NetworkConfig, catalogues: Sequence[Catalogue], found: Found, version: str, sha256: str
    ) -> Added:
        lock = sync.lock_here(self._workspace)
        more = {**self._more, found.name: Listed(found.name, found.name, f"=={version}" if version else "")}
        wants = wants_of(config, self._workspace, lock, catalogues, more=list(more.values()))
        if (self._workspace / _INDEX).is_dir():
            wants = replace(wants, indexes=(*wants.indexes, _INDEX))
        resolved = sync.resolve(self._workspace, wants)
        ready = sync.install(resolved, taken=taken_names(self._workspace), origins={})
        locked = ready.lock.package(found.name)
        if locked is None or (sha256 and sha256 not in locked.hashes):
            got = locked.hashes[0][:8] if locked is not None else "nothing"
            raise NotAdded("other_sha256", f"{found.name} is not what was shown: {got}… was found; nothing was added")
        write_record(ready.folder, ready.lock, ready.data)
        review = ready.reviews.get(found.name)
        return Added(
            name=found.name,
            version=locked.version,
            sha256=locked.hashes[0],
            paths=tuple(path for path, owner in ready.mods.items() if owner == found.name),
            folder=ready.folder,
            facts=shown.review_facts(review) if review is not None else {},
            ready=ready,
        )
