"""Why a mod or a package runs or does not: what needs it, and its needs. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from devserver.loader.distributions import Installed, installed
from devserver.loader.modules import LoadedModules
from devserver.market.packages import parse_package
from devserver.model.config import NetworkConfig
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import LiveMod
from devserver.model.split import main_of
from devserver.reload.knowledge import Knowledge
from devserver.reload.plan import Situation
from devserver.reload.plan.lines import describe, no_line
from devserver.reload.plan.needs import as_loaded, declared, place_of
from devserver.reload.plan.situation import not_loaded, required

Row = dict[str, Any]


class Why:
    """Answers from the memory of one engine; `modules` are the loaded ones."""

    def __init__(self, knowledge: Knowledge, modules: LoadedModules) -> None:
        self._knowledge = knowledge
        self._modules = modules

    def of(self, name: str) -> Row:
        """Describe a mod (id or path) or a package, as plain values; else `kind` is "unknown"."""
        situation = self._knowledge.as_it_runs()
        path = self._path(name, situation)
        if path is not None:
            return self._mod(path, situation)
        if "@" in name:
            # Not the package of that name: a version of a mod is asked for.
            return {"kind": "unknown", "name": name, "reason": no_line(name, situation)}
        found, needing = installed(name), list(self._mods_needing(name, situation))
        if found is None and not needing:
            return {"kind": "unknown", "name": name, "reason": not_loaded(name, situation)}
        return self._package(name, found, needing, situation)

    def _path(self, name: str, situation: Situation) -> str | None:
        """Return the path of the mod with this name, path or id: that runs, is listed or needed."""
        live = situation.find(name)
        if live is not None:
            return module_of(live.mod_path)
        paths = [module_of(each.path) for each in situation.config.mods]
        paths += [*situation.declared, *situation.absent, *(module_of(path) for path in self._knowledge.failed)]
        return next(
            (path for path in paths if name == path or module_of(name) == path or mod_id_of(path) == name), None
        )

    # Mods

    def _mod(self, path: str, situation: Situation) -> Row:
        live = situation.at(path)
        said = declared(path, situation) if live is None else as_loaded(live)
        needed_by = list(self._needed_by(path, situation))
        return {
            "kind": "mod",
            "mod_id": mod_id_of(path),
            "mod_path": path,
            "generation": live.generation if live is not None else 0,
            "version": live.version if live is not None else said.version,
            "came": self._came(path, situation),
            "listed": _listed(path, situation.config),
            "needed_by": needed_by,
            "needs": list(self._needs(path, declared(path, situation).requires, situation)),
            "works_with": list(self._needs(path, declared(path, situation).optional, situation)),
            "packages": [self._placed(text, path, situation) for text in said.packages],
            "beside": self._beside(live),
            "goes_with": [each["mod_id"] for each in needed_by if each["runs"]] if live and live.came_with else [],
            "waits": "" if live is not None else self._waits(path, situation),
        }

    @staticmethod
    def _beside(live: LiveMod | None) -> Row | None:
        """Return the events that a version beside a mod gets, and its code; None for a mod."""
        if live is None or live.line is None:
            return None
        return {"mod_id": main_of(live.mod_id), "gets": live.out or describe(live.line)}

    @staticmethod
    def _came(path: str, situation: Situation) -> str:
        """Return how a mod was loaded: "listed", "automatic" or "asked"; "" if it does not run."""
        live = situation.at(path)
        return "" if live is None else "automatic" if live.came_with else "listed" if live.listed else "asked"

    def _needed_by(self, path: str, situation: Situation) -> Iterator[Row]:
        """Return the mods that need this one, running ones first, then those that work with it."""
        others = dict.fromkeys((*(module_of(each.mod_path) for each in situation.live), *situation.declared))
        for other in others:
            said = declared(other, situation)
            for optional, texts in ((False, said.requires), (True, said.optional)):
                for each in required(texts):
                    if module_of(each.path) == path:
                        row = self._placed(each.written, other, situation)
                        yield {**row, **self._who(other, situation), "optional": optional}

    def _who(self, path: str, situation: Situation) -> Row:
        live, listed = situation.at(path), _listed(path, situation.config)
        came = self._came(path, situation)
        return {"mod_id": mod_id_of(path), "mod_path": path, "runs": live is not None, "came": came, "listed": listed}

    def _needs(self, path: str, texts: Iterable[str], situation: Situation) -> Iterator[Row]:
        for each in required(texts):
            live = situation.at(module_of(each.path))
            fits = live is not None and each.allows(live.version)
            yield {
                **self._placed(each.written, path, situation),
                "mod_id": mod_id_of(each.path),
                "generation": live.generation if live is not None else 0,
                "version": live.version if live is not None else None,
                "fits": fits,
            }

    @staticmethod
    def _placed(text: str, path: str, situation: Situation) -> Row:
        place = place_of(text, path, situation)
        file, line = (None, None) if place is None else (situation.shown(place.file), place.line)
        return {"requirement": text, "file": file, "line": line}

    def _waits(self, path: str, situation: Situation) -> str:
        """Return why a mod does not run."""
        failed = next((each for at, each in self._knowledge.failed.items() if module_of(at) == path), None)
        if failed is not None:
            return str(failed.outcome.error or failed.outcome.reason)
        spec = situation.listed(path)
        if spec is not None and not spec.enabled:
            return "network.yaml disables it"
        return situation.absent.get(path, "no mod that runs needs it, and network.yaml does not list it")

    # Packages

    def _package(self, name: str, found: Installed | None, needing: list[Row], situation: Situation) -> Row:
        tops = found.tops if found is not None else frozenset[str]()
        graph = self._modules.graph()
        imported_by = [
            mod.mod_id
            for mod in situation.live
            if any(not tops.isdisjoint(graph[each].imports) for each in graph.closure(mod.entry))
        ]
        return {
            "kind": "package",
            "name": found.name if found is not None else name,
            "version": found.version if found is not None else None,
            "imported": found.imported if found is not None else None,
            "folder": situation.shown(found.folder) if found is not None else None,
            "imported_by": imported_by,
            "needed_by": needing,
            "needed_by_packages": [
                {"name": each, "version": version, "requirement": text}
                for each, version, text in (found.needed_by if found is not None else ())
            ],
        }

    def _mods_needing(self, name: str, situation: Situation) -> Iterator[Row]:
        """Return the mods that declare a package, those that run and those that would."""
        said = {module_of(each.mod_path): as_loaded(each) for each in situation.live if _names_packages(each)}
        for path, each in {**situation.declared, **said}.items():
            for text in each.packages:
                if _is_named(text, name):
                    yield {**self._placed(text, path, situation), **self._who(path, situation), "version": each.version}


def _names_packages(mod: LiveMod) -> bool:
    # Parsing every source of a large network takes seconds.
    return b"# /// script" in mod.text or (mod.manifest is not None and bool(mod.manifest.packages))


def _is_named(text: str, name: str) -> bool:
    try:
        return parse_package(text).name == parse_package(name).name
    except ValueError:
        return False


def _listed(path: str, config: NetworkConfig) -> Row | None:
    spec = next((each for each in config.specs if module_of(each.path) == path), None)
    return None if spec is None else {"line": spec.line, "enabled": spec.enabled}
