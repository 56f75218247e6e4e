"""An edit that moved code without changing it: what runs goes on running, and its tracebacks show the new lines.

Nothing is executed. So module state, identities and everything that was started stay as they are.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from types import CodeType, FunctionType

from devserver.loader.modules import Text


def is_same_code(old: Text, new: Text) -> bool:
    """Whether two readings of a source differ in comments, blank lines and layout at most.

    Compared are the trees, not what they compile to: a text below a field is no bytecode, and pydantic makes it the
    description of that field.
    """
    if len(old.code.co_consts) != len(new.code.co_consts) or old.code.co_names != new.code.co_names:
        return False
    return ast.dump(ast.parse(old.data)) == ast.dump(ast.parse(new.data))


def reline(old: Text, new: Text) -> None:
    """Let every function that was made from `old` have its lines where `new` has them."""
    codes = {id(before): (before, after) for before, after in _pairs(old.code, new.code)}
    for each in gc.get_referrers(*(before for before, _ in codes.values())):
        if isinstance(each, FunctionType) and id(each.__code__) in codes:
            each.__code__ = codes[id(each.__code__)][1]


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Each function's code in one reading with the same in the other: equal sources compile to equal trees."""
    yield old, new
    for before, after in zip(_inner(old), _inner(new), strict=True):
        yield from _pairs(before, after)


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]
