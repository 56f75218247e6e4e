"""Objects of a module of mods whose content is one value, and no table of entries.

Each kind is recognised by its nature, not by its library: a buffer, a text in memory, a cell that
functions share, the values of one thread, a bounded cache, an iterator. Where the content can be set,
a change of it is taken back; an iterator cannot go back. Runs no code of the objects.
"""

from __future__ import annotations

import ast
import asyncio
import dis
import gc
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from types import CellType, CodeType, FunctionType, GeneratorType, MethodDescriptorType
from typing import Any

from devserver.loader import raw
from devserver.loader.places import MISSING, Place, Table, list_place

_MOST = 1 << 16
"""The most bytes of such an object: it is read at each turn."""
_IMMUTABLE_TYPE = 1 << 8
_VALUES = raw.ids(str, bytes, int, float, bool, complex, type(None))
_STORES_CELL = dis.opmap["STORE_DEREF"]
_DEPTH = 3

Content = tuple[Callable[[], Any], Callable[[Any], object]]
Entries = tuple[Callable[[], Table], Callable[[Any, Any, Any], None]]


class CannotGoBack(Exception):
    """A change that nothing takes back, in words."""


def content_places(thing: Any, name: str) -> Iterator[Place]:
    """Return the content of an object that a module leads to; nothing for other objects."""
    kind: Any = type(thing)
    if not is_of_python(type(thing)) and _is_list(kind):
        yield list_place("registration", lambda: thing, which=(name, id(thing)), is_shared=True, is_of_mods=True)
    for part, (read, put) in _parts_of(thing, name):
        yield Place(word="content", read=read, put=put, which=(name, id(part)), is_shared=True, is_of_mods=True)


def _parts_of(thing: Any, name: str) -> Iterator[tuple[Any, Entries]]:
    kind = type(thing)
    if kind is FunctionType:
        for cell in _cells_set_by(thing):
            yield cell, _of_cell(cell)
    elif kind is threading.local:
        yield thing, _of_thread(thing)
    elif (ways := _content_of(thing, name)) is not None:
        yield thing, _of_one(*ways)


def _of_one(read: Callable[[], Any], write: Callable[[Any], object]) -> Entries:
    # What was closed has no content, and gets none.
    def read_open() -> Table:
        try:
            return {"content": read()}
        except ValueError:
            return {}

    def put(key: Any, now: Any, value: Any) -> None:
        if read_open() and value is not MISSING:
            write(value)

    return read_open, put


def _content_of(thing: Any, name: str) -> Content | None:
    """Return how the content of an object is read and set; None for an object without one."""
    kind = type(thing)
    # Libraries that no mod has imported have made no object.
    if kind is getattr(sys.modules.get("random"), "Random", None):
        return lambda: repr(thing.getstate()), lambda value: thing.setstate(ast.literal_eval(value))
    if kind is threading.Event or kind is asyncio.Event:
        return thing.is_set, lambda value: thing.set() if value else thing.clear()
    if is_of_python(kind):
        return None
    if id(kind) not in _natures:
        _natures[id(kind)] = (kind, _nature_of(kind))
    way = _natures[id(kind)][1]
    return None if way is None or sys.getsizeof(thing) > _MOST else way(thing, name)


def is_of_python(kind: type) -> bool:
    """Return whether a class was made by a `class` statement, so that its methods may be anyone's."""
    flags = raw.flags_of(kind)
    return bool(flags & raw.HEAP_TYPE) and not flags & _IMMUTABLE_TYPE


@lru_cache(maxsize=1024)
def _is_list(kind: Any) -> bool:
    """Return whether a class of C, of the standard library, keeps objects as a list does: an element of XML."""
    if kind is bytearray or kind.__module__.partition(".")[0] not in sys.stdlib_module_names:
        return False
    known = {each for each in ("append", "insert", "__setitem__", "frombytes") if raw.lookup(kind, each) is not None}
    return known == {"append", "insert", "__setitem__"}


def _nature_of(kind: type) -> Callable[[Any, str], Content | None] | None:
    """Return how the content of instances of a class of C is found; None for a class without any."""
    get, put = (raw.lookup(kind, each) for each in ("__getstate__", "__setstate__"))
    if get is not raw.lookup(object, "__getstate__") and type(get) is type(put) is MethodDescriptorType:
        return partial(_stateful, get, put)
    if raw.lookup(kind, "__next__") is not None:
        return _iterator
    if kind is bytearray:
        return lambda thing, name: (lambda: bytes(thing), lambda value: thing.__setitem__(slice(None), value))
    if raw.lookup(kind, "frombytes") is not None:
        return lambda thing, name: (thing.tobytes, lambda value: _fill(thing, value))
    return _array if kind is getattr(sys.modules.get("numpy"), "ndarray", None) else None


_natures: dict[int, tuple[type, Callable[[Any, str], Content | None] | None]] = {}
"""By the ids of classes, which it keeps: those of C alone, of which there are few."""
_NO_NATURE = (object, None)


def _fill(buffer: Any, value: bytes) -> None:
    del buffer[:]
    buffer.frombytes(value)


def _array(thing: Any, name: str) -> Content | None:
    numpy: Any = sys.modules["numpy"]
    if thing.dtype.hasobject or thing.nbytes > _MOST:
        return None
    return thing.tobytes, lambda value: thing.flat.__setitem__(..., numpy.frombuffer(value, thing.dtype))


def _stateful(get: Callable[[Any], Any], put: Callable[[Any, Any], None], thing: Any, name: str) -> Content | None:
    """Return the state of an object that has a getter and a setter of it, as a text in memory."""
    try:
        state = get(thing)
    except (TypeError, ValueError):
        return None
    is_plain = type(state) is tuple and all(id(type(each)) in _VALUES for each in state)
    return (lambda: get(thing), lambda value: put(thing, value)) if is_plain else None


# Iterators


def is_iterator(kind: type) -> bool:
    """Return whether instances of a class are iterators of Python itself, whose parts are their own."""
    return _natures.get(id(kind), _NO_NATURE)[1] is _iterator


def _iterator(thing: Any, name: str) -> Content:
    return lambda: _position(thing, _DEPTH), lambda value: _refuse(thing, name)


def _position(thing: Any, depth: int) -> Any:
    """Return a value that is another one when an iterator has moved on."""
    kind = type(thing)
    if id(kind) in _VALUES:
        return thing
    if kind is itertools.count:
        # Since Python 3.12 an instance names its class among what it refers to.
        parts = [each for each in gc.get_referents(thing) if each is not kind]
        return repr(thing) if all(id(type(each)) in _VALUES for each in parts) else id(thing)
    if kind is GeneratorType:
        frame = thing.gi_frame
        own: tuple[Any, ...] = ("ended",) if frame is None else (frame.f_lasti,)
    elif raw.lookup(kind, "__next__") is None or is_of_python(kind):
        return len(thing) if kind is list else id(thing)
    else:
        left = raw.lookup(kind, "__length_hint__")
        own = () if left is None else (left(thing),)
    parts = [] if depth == 0 else [each for each in gc.get_referents(thing) if type(each) is not CodeType]
    return (*own, *(_position(each, depth - 1) for each in parts))


def _refuse(thing: Any, module: str) -> None:
    names = vars(sys.modules[module]) if module in sys.modules else {}
    found = next((f".{key}" for key, value in list(names.items()) if value is thing), "")
    raise CannotGoBack(f"{module}{found} has moved on, and a fresh start begins it again")


# Cells: what `nonlocal` sets


def _cells_set_by(function: FunctionType) -> Iterator[CellType]:
    if function.__closure__ and _STORES_CELL in function.__code__.co_code[::2]:
        yield from function.__closure__


def _of_cell(cell: CellType) -> Entries:
    def read() -> Table:
        try:
            return {"content": cell.cell_contents}
        except ValueError:
            # A cell that is not filled yet.
            return {}

    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            del cell.cell_contents
        else:
            cell.cell_contents = value

    return read, put


def _of_thread(local: threading.local) -> Entries:
    def put(key: Any, now: Any, value: Any) -> None:
        if value is MISSING:
            vars(local).pop(key, None)
        else:
            vars(local)[key] = value

    return lambda: dict(vars(local)), put


# Caches of functions


_CACHE: Any = type(lru_cache(int))
_ELEMENT = "_lru_list_elem"


def _table_of(cache: Any) -> dict[Any, Any]:
    count = cache.cache_info().currsize
    tables = [each for each in gc.get_referents(cache) if type(each) is dict and each is not vars(cache)]
    # Before its own table come the results, which may be dicts, too.
    return next((each for each in reversed(tables) if len(each) == count), {})


def _cached(cache: Any) -> dict[int, Any]:
    """Return a bounded cache's results, by their arguments' identity; others have a table."""
    parts = gc.get_referents(cache) if cache.cache_info().maxsize else []
    ends = [n for n, each in enumerate(parts) if type(each) is type and each.__name__ == _ELEMENT]
    return {id(parts[n - 2]): parts[n - 1] for n in ends[:-1]}


def forget_computed(module: str) -> Callable[[], None]:
    """Let the functions of a module forget the plain results that they have remembered for
    arguments; return the undo of that.

    They may have computed them with a value that was registered here. A result without arguments, or
    an object, may be one that all share.
    """
    taken = [(cache, table, _take_plain(cache, table)) for cache in _caches_in(module) for table in [_table_of(cache)]]

    def put_back() -> None:
        for cache, table, entries in taken:
            # Those of meanwhile may come from code that failed.
            _take_plain(cache, table)
            bound, left = cache.cache_info().maxsize, _cached(cache)
            for key, element in entries:
                # A bounded cache has let go of the oldest ones itself, and must not find them again.
                if bound is None or id(key) in left:
                    table[key] = element

    return put_back


def _take_plain(cache: Any, table: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Take the plain results for arguments out of the table of a cache; return these entries."""
    results = _cached(cache)
    plain = [
        (key, element)
        for key, element in list(table.items())
        if key != () and id(type(result := results.get(id(key), element))) in _VALUES and result is not None
    ]
    for key, _ in plain:
        del table[key]
    return plain


def _caches_in(module: str) -> Iterator[Any]:
    names = list(vars(sys.modules[module]).values()) if module in sys.modules else []
    classes = [each if raw.derives(type(each), type) else type(each) for each in names]
    own = {id(each): each for each in classes if raw.module_of(each) == module}.values()
    for each in (*names, *(value for cls in own for value in list(raw.names_of(cls).values()))):
        if type(each) is _CACHE:
            yield each
