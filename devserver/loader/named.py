"""Which modules a piece of code names, read from the code itself: at once, and rather too many than too few.

`source.read_imports` knows exactly what a source imports, which takes longer than to execute most modules. Decides
nothing about what is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import CodeType, ModuleType


def names_in(code: CodeType) -> frozenset[str]:
    """Every name that code, and the functions and classes in it, use: of variables, attributes and imported modules."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return frozenset(code.co_names).union(*map(names_in, inner))


def modules_named(names: Iterable[str]) -> frozenset[str]:
    """The modules, imported by now, that these names may stand for: by their own name, or as a part of another one.

    What else some programs put into Python's table is passed by.
    """
    wanted = frozenset(names)
    found = {each: module for each in wanted if isinstance(module := sys.modules.get(each), ModuleType)}
    parts = (vars(module).get(name) for module in found.values() for name in wanted & vars(module).keys())
    return frozenset(found).union(each.__name__ for each in parts if isinstance(each, ModuleType))
