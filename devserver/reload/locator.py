"""Finds the code of a mod, and decides whether it may be loaded, before any import of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from devserver.errors import ModFault, ModNotFound, ModRefused
from devserver.loader.environment import Environment
from devserver.loader.locate import Located, locate, locate_line
from devserver.loader.modules import LoadedModules
from devserver.model.names import LOCK, mod_id_of, module_of
from devserver.model.plan import Step
from devserver.model.split import main_of
from devserver.reload.declared import allow_list, not_installed
from devserver.reload.knowledge import Knowledge
from devserver.sources.roots import Roots

OPENAGENTS = "openagents.mods."
_NOT_LOCKED = f"is installed beside oa-dev and is not in {LOCK}: oa-dev add its package"


class Locator:
    """Locates the code of steps. `config_file` is where people read what network.yaml asks for."""

    def __init__(
        self, knowledge: Knowledge, roots: Roots, modules: LoadedModules, environment: Environment, config_file: Path
    ) -> None:
        self.config_file = config_file
        self.admits: list[Callable[[str], None]] = []
        """Each raises ModFault for a mod that must not be loaded now, by any caller."""
        self._knowledge = knowledge
        self._roots = roots
        self._modules = modules
        self._environment = environment
        self._allow_list: tuple[str, ...] | None = None
        self._packages: dict[str, list[str]] = {}
        """The folders of the packages that mods lie in, found once for all steps of a plan."""

    def begin_plan(self, *, obey: bool) -> None:
        """Begin a plan, which brings any mod or (`obey`) those that network.yaml and lock allow."""
        self._packages.clear()
        self._allow_list = (*allow_list(self._knowledge.config), *self._environment.mods) if obey else None

    def __call__(self, step: Step, former: Collection[Path] = ()) -> Located:
        """Return the place of a mod's code now: a module may have become a package. `former`: the
        sources to go back to, which ran before a restart in place and may be gone."""
        for admit in self.admits:
            admit(step.mod_path)
        # Only the path of a line has a label: other texts with an @ name no mod.
        path = step.code or (step.mod_path if step.line is None else main_of(step.mod_path))
        if former and (before := self._place_before(path, former)) is not None:
            return before
        try:
            if "@" in path:
                return self._installed_line(path)
            located = locate(path, self._roots, self._allow_list, packages=self._packages)
        except (ModNotFound, ModRefused) as fault:
            raise self.placed(fault, step.mod_path) from None
        is_installed = not {"site-packages", "dist-packages"}.isdisjoint(located.file.parts)
        if is_installed and not path.startswith(OPENAGENTS):
            # It would never leave Python's table, and no one has reviewed it.
            raise self.placed(ModRefused(f"{path} {_NOT_LOCKED}"), step.mod_path)
        if not located.reloadable and not is_installed:
            self._roots.add(_top_folder(located))
            located = locate(path, self._roots, self._allow_list)
        if step.line is None or step.line.code:
            return located
        if not located.reloadable:
            raise ModRefused(f"{path} belongs to an installed package, of which a process has one version")
        self._modules.lines.folders[module_of(step.mod_path)] = _folder_of(located)
        return replace(located, entry=module_of(step.mod_path) + located.entry[len(module_of(path)) :])

    def _installed_line(self, path: str) -> Located:
        """Return a version from an index, which lies apart: only what is locked is there."""
        folder = self._environment.folder_of(path)
        if folder is None:
            raise not_installed(path, self._roots, self._environment)
        located = locate_line(path, folder, self._roots)
        self._modules.lines.folders[path] = folder
        return located

    def _place_before(self, path: str, former: Collection[Path]) -> Located | None:
        """Return the place of a mod's code among the sources that it ran; None if they are of another one."""
        name, base = module_of(path), self._roots.workspace.joinpath(*module_of(path).split("."))
        places = {f"{name}.mod": (base / "mod.py",), name: (base / "__init__.py", base.with_suffix(".py"))}
        found = ((entry, file) for entry, files in places.items() for file in files if file in former)
        return next((Located(mod_id_of(path), path, entry, file, True) for entry, file in found), None)

    def placed(self, fault: ModFault, mod_path: str) -> ModFault:
        """Return the fault of a mod or a line at the line where network.yaml lists it."""
        spec = next((each for each in self._knowledge.config.specs if each.path == mod_path), None)
        at = spec.named_at if spec is not None else None
        if at is not None and fault.file is None:
            fault.file, (fault.line, fault.column) = str(self.config_file), at
        return fault


def _folder_of(located: Located) -> Path:
    """Return the folder that the top module of a mod lies in: of a package the one around it."""
    is_package = located.file.name == "__init__.py" or located.entry != module_of(located.mod_path)
    return located.file.parent.parent if is_package else located.file.parent


def _top_folder(located: Located) -> Path:
    """Return the folder of the outermost package that a mod's module belongs to."""
    depth = located.entry.count(".")
    return located.file.parents[max(depth - 1, 0)]
