"""Reads what mods declare in their sources: needed mods and packages, and imports.

Executes nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from devserver.errors import DevServerError, ModFault, ModNotFound, ModRefused
from devserver.live.registry import Registry
from devserver.loader.environment import Environment
from devserver.loader.locate import Located, locate, locate_line
from devserver.loader.modules import LoadedModules
from devserver.market.manifest import completed, declared_in, manifest_beside
from devserver.model.change import ConfigChanged, Sources, Trigger
from devserver.model.config import NetworkConfig
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import LiveMod
from devserver.model.split import main_of
from devserver.reload.attempts import Attempt
from devserver.reload.history import Past
from devserver.reload.plan import needed_paths
from devserver.sources.files import read_bytes
from devserver.sources.graph import Declarations, read_imports
from devserver.sources.roots import Roots

_WORD = re.compile(rb"\w+")

_DECLARING = (b"requires", b"# /// script")
"""Texts in each source that declares mods or packages."""
_SAYING = (*_DECLARING, b"optional", b"version")
"""Texts in each source that declares anything."""


class Memory(Protocol):
    """What the reader of sources asks of `Knowledge`."""

    failed: dict[str, Attempt]

    def runs(self, path: str) -> bool: ...
    def code_of(self, path: str) -> str: ...


class Declared:
    """Reads declarations: of mods to load, of changed sources, of those an undo brings back."""

    def __init__(
        self, memory: Memory, roots: Roots, modules: LoadedModules, registry: Registry, environment: Environment
    ) -> None:
        self._memory = memory
        self._roots = roots
        self._modules = modules
        self._registry = registry
        self._environment = environment

    def of(
        self, paths: Iterable[str], allowing: NetworkConfig | None = None, codes: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Declarations], dict[str, str]]:
        """Return, by path, the declarations of mods, and where missing ones were searched.

        A mod whose source cannot be read is in neither: the load itself will fail on it and say
        why. With `allowing`, a mod outside of the workspace that it does not allow counts as
        missing.
        """
        declared, absent = {}, {}
        packages: dict[str, list[str]] = {}
        for path in paths:
            try:
                code = (codes or {}).get(path) or self._memory.code_of(path)
                located = self._located(code, packages)
                if allowing is not None and not located.reloadable:
                    locate(code, self._roots, (*allow_list(allowing), *self._environment.mods), packages=packages)
                file = located.file
                declared[module_of(path)] = _declared_in(file, read_bytes(file) or b"")
            except ModNotFound as nowhere:
                absent[module_of(path)] = str(nowhere)
            except ModRefused as refused:
                if allowing is not None:
                    absent[module_of(path)] = str(refused)
            except (DevServerError, OSError, SyntaxError, ValueError):
                continue
        return declared, absent

    def _located(self, code: str, packages: dict[str, list[str]]) -> Located:
        if "@" not in code:
            return locate(code, self._roots, packages=packages)
        folder = self._environment.folder_of(code)
        if folder is None:
            raise not_installed(code, self._roots, self._environment)
        return locate_line(code, folder, self._roots)

    def add_needed(self, declared: dict[str, Declarations], absent: dict[str, str], config: NetworkConfig) -> None:
        """Add the mods that are needed and do not run, directly or through others: their
        declarations, or where they were searched.

        A mod that no person has listed comes from the workspace, or is allowed by network.yaml.
        """
        pending = list(declared)
        for path in pending:
            needed = [each for each in needed_paths(declared[path].requires) if each not in absent]
            new = [each for each in dict.fromkeys(needed) if each not in declared and not self._memory.runs(each)]
            if not new:
                continue
            found, nowhere = self.of(new, config)
            declared |= found
            absent |= nowhere
            pending += found

    def changed(
        self, live: Sequence[LiveMod], stale: Mapping[str, Path], texts: Mapping[Path, bytes], changed: Sources
    ) -> dict[str, Declarations]:
        """Return live mods' new declarations, if a decision may depend on these."""
        found = {}
        concerned = [mod for mod in live if mod.entry in stale or mod.manifest is not None]
        for mod in concerned if stale or changed else ():
            beside = mod.manifest is not None and any(each in changed for each in mod.manifest.files)
            path = stale.get(mod.entry) or (mod.file if beside else None)
            data = texts.get(path) or bytes_of(path) if path is not None and path.suffix == ".py" else None
            # Parsing a source takes longer than all the rest of a plan.
            if path is not None and data is not None and (beside or self._may_declare(mod, data, live)):
                with contextlib.suppress(SyntaxError, ValueError, ModFault):
                    found[module_of(mod.mod_path)] = declared_in(path, data)
        return found

    def _may_declare(self, mod: LiveMod, data: bytes, live: Iterable[LiveMod]) -> bool:
        """Return whether a source declares needs, now or before, or others need its version."""
        beside = mod.manifest is not None and bool(mod.manifest.requires or mod.manifest.packages)
        if mod.requires or beside or any(each in data for each in _DECLARING):
            return True
        path, name = module_of(mod.mod_path), mod_id_of(mod.mod_path)
        if any(path in attempt.needs for attempt in self._memory.failed.values()):
            return True
        texts = (text for other in live for text in other.requires if name in text)
        return path in needed_paths(texts)

    def gained_imports(self, stale: Mapping[str, Path], texts: Mapping[Path, bytes]) -> dict[str, frozenset[str]]:
        """Return the imports between stale modules that are new since they were loaded."""
        graph, found = self._modules.graph(), {}
        for name, path in stale.items():
            loaded = self._modules.get(name)
            others = stale.keys() - graph.closure(name) - {name} if name in graph else frozenset[str]()
            data = (texts.get(path) or bytes_of(path) or b"") if others and path.suffix == ".py" else b""
            # Parsing a source takes longer than seeing that it names none of them.
            words = set(_WORD.findall(data))
            if loaded is not None and any(each.rpartition(".")[2].encode() in words for each in others):
                with contextlib.suppress(SyntaxError):
                    imports = read_imports(data, name, loaded.package)
                    found[name] = frozenset(others & (imports.eager | imports.lazy))
        return {name: gained for name, gained in found.items() if gained}

    def before(self, undoable: Mapping[str, Past]) -> dict[str, Declarations]:
        """Return the declarations of the sources that an undo brings back."""
        found = {}
        for generation in self._registry.live:
            past, loaded = undoable.get(generation.mod_id), self._modules.get(generation.entry)
            text = past.texts.get(loaded.path) if past is not None and loaded is not None else None
            if text is not None:
                with contextlib.suppress(SyntaxError, ValueError, ModFault):
                    found[module_of(generation.mod_path)] = declared_in(text.path, text.data)
        return found


def _declared_in(file: Path, data: bytes) -> Declarations:
    """Return what a mod declares. A source without the names for it is not parsed: its load compiles it."""
    if data.isascii() and not any(each in data for each in _SAYING):
        return completed(Declarations(), manifest_beside(file))
    return declared_in(file, data)


def not_installed(line: str, roots: Roots, environment: Environment) -> ModNotFound:
    """Return why a version from an index is not at hand."""
    main = main_of(line)
    try:
        lies_here = main not in environment.mods and roots.holds(locate(main, roots).file)
    except (ModNotFound, ModRefused):
        lies_here = False
    if lies_here:
        return ModNotFound(f"{main} lies in the workspace, and no index has versions of it: name another mod's path")
    return ModNotFound(f"{line} is not locked and installed: oa-dev sync brings it")


def allow_list(config: NetworkConfig) -> tuple[str, ...]:
    """Return the packages and mods that untrusted callers may load."""
    codes = (each.beside.code for each in config.specs if each.beside is not None and each.beside.code)
    return (*config.mod_paths, *(module_of(each.path) for each in config.mods), *codes)


def bytes_of(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except OSError:
        return None


def codes_of(trigger: Trigger) -> dict[str, str]:
    """Return the paths of the code of the lines that a trigger brings, by their own paths."""
    specs = trigger.config.specs if isinstance(trigger, ConfigChanged) else ()
    return {each.path: each.beside.code for each in specs if each.beside is not None and each.beside.code}
