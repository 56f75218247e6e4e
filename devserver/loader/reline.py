"""An edit that moved code without changing it: what runs goes on running, and its tracebacks show the new lines.

Nothing is executed. So module state, identities and everything that was started stay as they are.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import CodeType, FunctionType

from devserver.loader.modules import Text

_PARTS = (
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_flags",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_qualname",
    "co_exceptiontable",
)


def is_same_code(old: Text, new: Text) -> bool:
    """Whether two readings of a source differ in comments, blank lines and layout at most: they compile to the same."""
    return _is_same(old.code, new.code)


def _is_same(old: CodeType, new: CodeType) -> bool:
    return (
        all(getattr(old, part) == getattr(new, part) for part in _PARTS)
        and len(old.co_consts) == len(new.co_consts)
        and all(
            # Python 3.13 compiles the first line of a class into its body.
            _is_same_constant(before, after) or (before, after) == (old.co_firstlineno, new.co_firstlineno)
            for before, after in zip(old.co_consts, new.co_consts, strict=True)
        )
    )


def _is_same_constant(old: object, new: object) -> bool:
    if isinstance(old, CodeType) and isinstance(new, CodeType):
        return _is_same(old, new)
    # Not by ==, for which 1 is True and 0.0 is -0.0.
    return type(old) is type(new) and repr(old) == repr(new)


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
