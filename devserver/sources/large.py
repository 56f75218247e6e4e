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
from types import CodeType
from typing import Any

_LARGE = 128 * 1024
"""The most bytes that are compiled in this process: a tenth of a second."""
_MANY = 2500
"""The most signs of equality: Python compares each keyword argument of a call with all others."""
_LONG = 1000
"""The most elements of a literal, or arguments of a call, that a tree has."""
_LOOKS = 0.1
"""Seconds after which a thread that waits can be interrupted."""
_DEEP = 100_000

_is_apart = True


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

    A literal with a thousand elements or more, in a large source, is one constant; so are the arguments of a call.
    """
    if not is_large(data) or (parts := _apart("tree", data, "<unknown>")) is None:
        return ast.parse(data)
    # One by one: other threads run in between.
    return ast.Module([pickle.loads(each) for each in parts], [])


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
                result = _parts(data)
            else:
                code = compile(data, path, "exec", dont_inherit=True, optimize=int(optimize))
                result = marshal.dumps(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            result = error.with_traceback(None)
    said = [(str(each.message), each.category, each.lineno) for each in told if kind != "tree"]
    sys.stdout.buffer.write(pickle.dumps((result, said)))


def _parts(data: bytes) -> list[bytes]:
    """Return the statements at the top of a source, each as its pickled tree, shortened."""
    lines = data.splitlines()
    tree = ast.parse(data)
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                value[:] = [_shortened(each, lines) for each in value]
                pending += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                setattr(node, name, short := _shortened(value, lines))
                pending.append(short)
    return [pickle.dumps(each) for each in tree.body]


def _shortened(node: Any, lines: list[bytes]) -> Any:
    """Return an expression, or one that is short and differs where its source does."""
    fields = vars(node).values() if isinstance(node, ast.expr) else ()
    if not any(isinstance(each, list) and len(each) > _LONG for each in fields):
        return node
    own = hashlib.sha256(b"\n".join(lines[node.lineno - 1 : node.end_lineno])).digest()
    short: ast.expr = ast.copy_location(ast.Constant(own), node)
    if isinstance(node, ast.Call):
        node.args, node.keywords = [short], []
        return node
    return short


if __name__ == "__main__":
    _main(*sys.argv[1:])
