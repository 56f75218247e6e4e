"""Which module imports which, and which are executed again after a change, in which order.

Pure: facts in, values out. Must not import, find or execute the modules. `imports` and
`declarations` read sources, and are offered here too.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from devserver.model.declared import Declarations
from devserver.sources.declarations import read_declarations
from devserver.sources.imports import Imports, ancestors, read_imports

__all__ = [
    "Declarations",
    "Imports",
    "ModuleFacts",
    "ModuleGraph",
    "components",
    "reach",
    "read_declarations",
    "read_imports",
]


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """One module: its source, the absolute names it may import, its place in the order."""

    name: str
    path: Path
    imports: frozenset[str] = frozenset()
    order: int = 0


@dataclass(frozen=True, eq=False)
class ModuleGraph(Mapping[str, ModuleFacts]):
    """Modules by name, and their imports of each other. A module imports its packages, too."""

    _modules: Mapping[str, ModuleFacts] = field(default_factory=dict)

    def __getitem__(self, name: str) -> ModuleFacts:
        return self._modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def dependents(self, names: Iterable[str]) -> frozenset[str]:
        """Return the named modules and all that import them, directly or through others. A name may
        be missing in the graph: then the result is the modules that try to import it."""
        return reach(names, self._importers)

    def dependencies(self, name: str) -> frozenset[str]:
        """Return the modules of the graph that a module imports, directly or through others."""
        return reach([name], self._imported) - {name}

    def closure(self, name: str) -> frozenset[str]:
        """Return a module of the graph and its dependencies; nothing for an unknown name."""
        return self.dependencies(name) | {name} if name in self else frozenset()

    def affected(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the modules of the graph to execute again with `names`, in that order.

        These are the dependents. Imported modules come before those that import them, a package
        before its modules. The members of a cycle stay together, in the order in which their import
        began.
        """
        found = sorted((name for name in self.dependents(names) if name in self), key=self._began)
        among = set(found)
        cycles = components(found, lambda name: [each for each in self._imported(name) if each in among])
        return tuple(name for cycle in cycles for name in sorted(cycle, key=self._began))

    def why(self, name: str, changed: Iterable[str]) -> tuple[str, ...]:
        """Return the shortest chain of imports from a changed module to `name`, or nothing."""
        before: dict[str, str | None] = dict.fromkeys(sorted(changed))
        pending = deque(before)
        while pending and name not in before:
            reached = pending.popleft()
            for follower in self._importers(reached):
                if follower not in before:
                    before[follower] = reached
                    pending.append(follower)
        return tuple(_backwards(name, before)) if name in before else ()

    def _began(self, name: str) -> tuple[int, int, str]:
        """Return when a module's import began; never before its packages', if these ran again."""
        orders = [self[each].order for each in (*ancestors(name), name) if each in self]
        return max(orders), name.count("."), name

    def _importers(self, name: str) -> list[str]:
        package = name.rpartition(".")[0]
        found = {*self._importers_by_name.get(name, ()), *self._importers_by_name.get(f"{package}.*", ())}
        return sorted(found - {name})

    def _imported(self, name: str) -> list[str]:
        return self._edges.get(name, [])

    @cached_property
    def _importers_by_name(self) -> Mapping[str, set[str]]:
        importers: dict[str, set[str]] = defaultdict(set)
        for module in self.values():
            for name in (*module.imports, *ancestors(module.name)):
                importers[name].add(module.name)
        return importers

    @cached_property
    def _edges(self) -> Mapping[str, list[str]]:
        edges: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self, key=self._began):
            for importer in self._importers(name):
                edges[importer].append(name)
        return edges


def reach(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """Return these names, and all that follow them, directly or not."""
    reached = set(start)
    pending = list(reached)
    while pending:
        new = [each for each in following(pending.pop()) if each not in reached]
        reached.update(new)
        pending += new
    return frozenset(reached)


def _backwards(name: str, before: Mapping[str, str | None]) -> list[str]:
    chain = []
    step: str | None = name
    while step is not None:
        chain.append(step)
        step = before[step]
    return chain[::-1]


@dataclass(slots=True)
class _Visit:
    """A node on the current path of Tarjan's search, with the successors still to be looked at."""

    name: str
    successors: Iterator[str]
    lowest: int


def components(names: Iterable[str], needs: Callable[[str], Iterable[str]]) -> list[list[str]]:
    """Return the strongly connected components, needed ones first, each in the order of discovery.

    Tarjan, Depth-first search and linear graph algorithms (1972), with a stack instead of
    recursion: 1,000 modules in a row are allowed.
    """
    index: dict[str, int] = {}
    open_: list[str] = []
    done: set[str] = set()
    found: list[list[str]] = []

    def visit(name: str) -> _Visit:
        index[name] = len(index)
        open_.append(name)
        return _Visit(name, iter(needs(name)), index[name])

    for root in names:
        path = [] if root in index else [visit(root)]
        while path:
            current = path[-1]
            successor = next(current.successors, None)
            if successor is None:
                path.pop()
                if path:
                    path[-1].lowest = min(path[-1].lowest, current.lowest)
                if current.lowest == index[current.name]:
                    found.append(_cut(open_, current.name))
                    done.update(found[-1])
            elif successor not in index:
                path.append(visit(successor))
            elif successor not in done:
                current.lowest = min(current.lowest, index[successor])
    return found


def _cut(open_: list[str], name: str) -> list[str]:
    """Take everything from `name` on out of `open_`."""
    component = [open_.pop()]
    while component[-1] != name:
        component.append(open_.pop())
    return component[::-1]
