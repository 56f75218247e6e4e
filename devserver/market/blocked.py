"""Warnings of catalogues about installed mods. A warning refuses loads; it never removes anything.

Reads only files, those of this machine and those that commands have fetched, and only when they
have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from devserver.errors import ModRefused
from devserver.market.folder import Installed
from devserver.model.config import NetworkConfig
from devserver.model.facts import Fact, ModBlocked
from devserver.model.names import mod_id_of

if TYPE_CHECKING:
    from devserver.market.catalogue import Catalogue

_Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Warning:
    """A catalogue's warning about a mod: path, distribution, version, reason, source, digest."""

    mod_path: str
    name: str
    version: str
    reason: str
    catalogue: str
    sha256: str = ""

    def fact(self, *, runs: bool) -> ModBlocked:
        return ModBlocked(
            mod_id=mod_id_of(self.mod_path),
            name=self.name,
            version=self.version,
            reason=self.reason,
            catalogue=self.catalogue,
            runs=runs,
        )


class Running(Protocol):
    """The questions to the network."""

    workspace: Path

    @property
    def config(self) -> NetworkConfig:
        """Return what network.yaml asks for."""

    def runs(self, mod_path: str) -> bool: ...


class BlockedMods:
    """The warnings about installed mods. `installed` is asked each time: it may change."""

    def __init__(
        self, network: Running, installed: Callable[[], Installed | None], tell: Callable[[Fact], None]
    ) -> None:
        self._network = network
        self._installed = installed
        self._tell = tell
        self._signature: _Signature | None = None
        self._catalogues: tuple[Catalogue, ...] = ()
        self._allowed: set[str] = set()

    def allow(self, sha256: str) -> None:
        """Let a mod be loaded in this run nevertheless: a person has named its digest."""
        self._allowed.add(sha256)

    def find(self, mod_path: str) -> Warning | None:
        """Return the warning about a mod; None for one of the workspace, or that was allowed."""
        installed = self._installed()
        name = installed.mods.get(mod_path) if installed is not None else None
        if installed is None or name is None or name not in installed.packages:
            return None
        version = installed.packages[name].version
        found = next(self._warnings(mod_path, name, version), None)
        return None if found is None or found.sha256 in self._allowed else found

    def refuse(self, mod_path: str) -> None:
        """Raise ModRefused for a mod that a catalogue warns of; one that runs goes on."""
        warning = None if self._network.runs(mod_path) else self.find(mod_path)
        if warning is not None:
            self._tell(warning.fact(runs=False))
            raise ModRefused(
                f"{warning.name} {warning.version} is blocked by {warning.catalogue}: {warning.reason}; "
                f"oa-dev remove {warning.name}"
            )

    def running(self) -> tuple[Warning, ...]:
        """Return all warnings about mods that run."""
        # Before the catalogues are read: what runs nowhere needs none of them.
        return tuple(each for path in self._paths() if self._network.runs(path) and (each := self.find(path)))

    def all(self) -> tuple[Warning, ...]:
        """Return all warnings about installed mods."""
        return tuple(each for path in self._paths() if (each := self.find(path)))

    def _paths(self) -> tuple[str, ...]:
        installed = self._installed()
        return () if installed is None else tuple(installed.mods)

    def _warnings(self, mod_path: str, name: str, version: str) -> Iterator[Warning]:
        for catalogue in self._read():
            found = catalogue.find(name)
            reason = found[1].blocked_for(version) if found is not None else None
            if found is not None and reason:
                release = found[1].releases.get(version)
                digest = release.sha256 if release is not None else ""
                yield Warning(mod_path, name, version, reason=reason, catalogue=catalogue.name, sha256=digest)

    def _read(self) -> tuple[Catalogue, ...]:
        # Here and not above: a network of its own mods alone reads no catalogue.
        from devserver.market.catalogue import BadCatalogue, read_catalogue
        from devserver.market.places import files_of

        files = files_of(self._network.config, self._network.workspace)
        signature = tuple(_signed(files.values()))
        if signature != self._signature:
            found: list[Catalogue] = []
            for name, file in files.items():
                try:
                    found.append(read_catalogue(file.read_bytes(), file.parent, named=name))
                except (OSError, BadCatalogue):
                    # Searches tell of a list that cannot be read; it warns of nothing.
                    continue
            self._catalogues, self._signature = tuple(found), signature
        return self._catalogues


def _signed(files: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        yield str(file), found.st_mtime_ns, found.st_size
