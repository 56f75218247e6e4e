"""Compiles and parses large sources in a process of its own.

Python runs no other thread meanwhile, and so gives agents no answer: a call with 50,000 keyword arguments takes 18 s.
Run as a program, this file is that process, so it imports nothing of ours.
"""

from __future__ import annotations

import ast
import hashlib
import marshal
import pickle
import subprocess
import sys
import warnings
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from types import CodeType
from typing import Any

_LARGE = 128 * 1024
"""The most bytes that are compiled in this process: a tenth of a second."""
_MANY = 2500
"""The most signs of equality: Python compares each keyword argument of a call with all others."""
_LONG = 4096
"""The most bytes of a literal, or of the arguments of a call, that a tree has."""
_LOOKS = 0.1
"""Seconds after which a thread that waits can be interrupted."""
_DEEP = 100_000
_LITERALS = (ast.Constant, ast.JoinedStr, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.BinOp)

_is_apart = True

Pickled = tuple[list[bytes], list[int]]
"""The statements of a source, each after those in it, and the numbers of those at its top."""

ahead: ContextVar[dict[bytes, ast.Module | Exception] | None] = ContextVar("ahead", default=None)
"""The trees of large sources, or their errors, where a thread must not wait: `tree_of` raises Unread for others."""


class Unread(Exception):
    """A large source that has to be parsed, on a thread that answers agents."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"a source of {len(data)} bytes has to be parsed elsewhere first")
        self.data = data


def stay_here() -> None:
    """Start no process for large sources from now on: this one starts none, or is one for mods alone."""
    global _is_apart
    _is_apart = False


def is_large(data: bytes) -> bool:
    """Return whether a source takes Python too long for a process that answers agents."""
    return _is_apart and (len(data) > _LARGE or data.count(b"=") > _MANY)


def code_of(data: bytes, path: str) -> CodeType:
    """Compile the source of a module. Raises as `compile`."""
    if not is_large(data) or (written := _apart("code", data, path)) is None:
        return compile(data, path, "exec", dont_inherit=True)
    code: CodeType = marshal.loads(written)
    return code


def tree_of(data: bytes) -> ast.Module:
    """Parse a source. Raises as `ast.parse`.

    Of a large source, a literal of 4 KiB or more is one constant; so are the arguments of a call.
    """
    if not is_large(data):
        return ast.parse(data)
    if (known := ahead.get()) is None:
        return _tree(_pickled(data)) or ast.parse(data)
    if data not in known:
        raise Unread(data)
    if isinstance(found := known[data], Exception):
        raise found
    return found


def _tree(pickled: Pickled | None) -> ast.Module | None:
    if pickled is None:
        return None
    statements: list[ast.stmt] = []
    for each in pickled[0]:
        # One by one: other threads run in between.
        statements.append(_Unpickler(each, statements).load())
    return ast.Module([statements[number] for number in pickled[1]], [])


# Bytes: the objects of a tree would be looked through with each collection of garbage.
@lru_cache(maxsize=2)
def _pickled(data: bytes) -> Pickled | None:
    """Parse a large source; None where no process can be started. Raises as `ast.parse`."""
    found: Pickled | None = _apart("tree", data, "<unknown>")
    return found


class _Unpickler(pickle.Unpickler):
    """Reads a statement; those in it are there already."""

    def __init__(self, data: bytes, statements: list[ast.stmt]) -> None:
        super().__init__(BytesIO(data))
        self._statements = statements

    def persistent_load(self, number: Any) -> ast.stmt:
        found: ast.stmt = self._statements[number]
        return found


def _apart(kind: str, data: bytes, path: str) -> Any:
    """Return the result of a process; None where none can be started. Raises what was raised there."""
    command = [sys.executable, "-I", "-S", __file__, kind, path, str(sys.flags.optimize)]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, start_new_session=True)
    except OSError:
        return None
    with process:
        try:
            answer = _answer(process, data)
        finally:
            # Where this thread is interrupted, too.
            process.kill()
    if not answer:
        words = f"the process that read it ended with {process.returncode}"
        raise SyntaxError(words, (path, 1, None, None))
    # Ours: it holds what Python made of the source, and the source itself was not executed.
    result, told = pickle.loads(answer)
    for text, category, line in told:
        warnings.warn_explicit(text, category, path, line)
    if isinstance(result, BaseException):
        raise result
    return result


def _answer(process: subprocess.Popen[bytes], data: bytes) -> bytes:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(data)
    # It has no more to get: `communicate` sends only in its first turn.
    process.stdin = None
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_LOOKS)[0]


# In the process of its own


def _main(kind: str, path: str, optimize: str) -> None:
    data = sys.stdin.buffer.read()
    sys.setrecursionlimit(_DEEP)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result: Any
        try:
            if kind == "tree":
                result = _pickled_parts(data)
            else:
                code = compile(data, path, "exec", dont_inherit=True, optimize=int(optimize))
                result = marshal.dumps(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            result = error.with_traceback(None)
    said = [(str(each.message), each.category, each.lineno) for each in told if kind != "tree"]
    sys.stdout.buffer.write(pickle.dumps((result, said)))


def _pickled_parts(data: bytes) -> Pickled:
    tree = ast.parse(data)
    _Shortening(data).of(tree)
    # A tree is walked from the top: what is in a statement comes first in the end.
    statements = [each for each in ast.walk(tree) if isinstance(each, ast.stmt)][::-1]
    numbers = {id(each): number for number, each in enumerate(statements)}
    return [_Pickler.one(each, numbers) for each in statements], [numbers[id(each)] for each in tree.body]


class _Pickler(pickle.Pickler):
    """Writes a statement with the numbers of those in it."""

    own: ast.stmt
    numbers: dict[int, int]

    @classmethod
    def one(cls, statement: ast.stmt, numbers: dict[int, int]) -> bytes:
        written = BytesIO()
        pickler = cls(written)
        pickler.own, pickler.numbers = statement, numbers
        pickler.dump(statement)
        return written.getvalue()

    def persistent_id(self, thing: Any) -> int | None:
        return None if thing is self.own else self.numbers.get(id(thing))


class _Shortening:
    """Makes long expressions of a tree short: they differ where their source does."""

    def __init__(self, data: bytes) -> None:
        self._lines = data.splitlines(keepends=True)
        self._starts = [0]
        for each in self._lines:
            self._starts.append(self._starts[-1] + len(each))
        self._digests: dict[tuple[int, int], bytes] = {}

    def of(self, tree: ast.AST) -> None:
        """Shorten in place."""
        pending = [tree]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.Call) and self._end(node) - self._end(node.func) > _LONG:
                node.args, node.keywords = [self._short(node)], []
            for name, value in ast.iter_fields(node):
                if isinstance(value, list):
                    value[:] = [self._shortened(each) for each in value]
                    pending += [each for each in value if isinstance(each, ast.AST)]
                elif isinstance(value, ast.AST):
                    setattr(node, name, short := self._shortened(value))
                    pending.append(short)

    def _shortened(self, node: Any) -> Any:
        is_long = isinstance(node, _LITERALS) and self._end(node) - self._offset(node.lineno, node.col_offset) > _LONG
        return self._short(node) if is_long else node

    def _short(self, node: ast.expr) -> ast.expr:
        place = node.lineno, node.end_lineno or node.lineno
        if place not in self._digests:
            self._digests[place] = hashlib.sha256(b"".join(self._lines[place[0] - 1 : place[1]])).digest()
        return ast.copy_location(ast.Constant(self._digests[place]), node)

    def _end(self, node: ast.expr) -> int:
        return self._offset(node.end_lineno or 0, node.end_col_offset or 0)

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column


if __name__ == "__main__":
    _main(*sys.argv[1:])
