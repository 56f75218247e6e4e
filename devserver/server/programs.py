"""One program of an agent as a process: started, read, ended; and taken over by the next image of this process.

The process has a session of its own, so that a restart in place and a Ctrl-C in the terminal do not end it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from devserver.loader.substitutes import package_folder
from devserver.sources.imports import read_imports
from devserver.sources.large import code_of

_MOST_READ = 16384
_LONGEST_LINE = 4096
_YAML = (".yaml", ".yml")
_OF_PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""Lines come as they are printed; a cached module hides no save of equal length in a second."""


@dataclass(slots=True)
class Program:
    """A running program. `output`: the end of its pipe; `sources`: their digest at its start."""

    file: str
    pid: int
    output: int
    sources: str
    rest: bytes = b""

    def lines(self) -> Iterator[str]:
        """Return lines that the program has written since, without blocking. One that writes without end waits."""
        yield from self._read(1)

    def _read(self, times: int) -> Iterator[str]:
        for _ in range(times):
            try:
                data = os.read(self.output, _MOST_READ)
            except OSError:
                return  # nothing more for the moment, or for good
            if not data:
                return
            *whole, self.rest = (self.rest + data).split(b"\n")
            if len(self.rest) > _LONGEST_LINE:
                whole, self.rest = [*whole, self.rest], b""
            yield from (each.decode("utf-8", "replace").rstrip("\r") for each in whole)

    def last_words(self) -> Iterator[str]:
        """Return the rest of the output once the program has ended, and close the pipe."""
        yield from self._read(64)
        if self.rest:
            yield self.rest.decode("utf-8", "replace")
            self.rest = b""
        os.close(self.output)

    def code(self) -> int | None:
        """Return the exit code, a signal as a negative number; None while it runs."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # other code has reaped it: its exit code is lost
            return 0
        return None if pid == 0 else os.waitstatus_to_exitcode(status)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the program and its children."""
        with suppress(ProcessLookupError, PermissionError):  # it has ended, or changed its user
            os.killpg(self.pid, number)


def start_program(file: str, folder: Path, variables: Mapping[str, str]) -> Program:
    """Start the program in `file`, a path from `folder`. Raises OSError, ValueError for one that cannot be started."""
    sources = sources_digest(folder / file)
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        process = subprocess.Popen(
            _command(folder / file),
            cwd=folder,
            env={**os.environ, **_OF_PYTHON, **variables},
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    process.returncode = 0  # `code` waits for it, and so does the next image, which has no Popen
    return Program(file, process.pid, reading, sources)


def _command(file: Path) -> list[str]:
    if file.suffix not in _YAML:
        return [sys.executable, str(file)]
    if package_folder("openagents") is None:
        raise ValueError("an agent in YAML is started by the package openagents, which is not installed")
    return [sys.executable, "-m", "openagents.cli", "agent", "start", str(file)]


def problem_of(file: Path) -> str | None:
    """Return why a program cannot be started, with its line; None if no reason is known."""
    try:
        data = file.read_bytes()
        if file.suffix not in _YAML:
            code_of(data, str(file))
    except SyntaxError as error:
        return f"line {error.lineno}, column {error.offset}: {error.msg}"
    except (RecursionError, MemoryError):
        return "it is nested too deep for Python"
    except (OSError, ValueError) as error:
        return error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return None


def sources_digest(file: Path) -> str:
    """Return a digest of a program and of the modules beside it that it imports, also by way of others."""
    digest = hashlib.sha256()
    waiting, seen = [file], {file}
    while waiting:
        each = waiting.pop()
        try:
            data = each.read_bytes()
        except OSError:
            continue
        digest.update(os.fsencode(each) + b"\0" + data + b"\0")
        found = [found for found in _imported(data, file.parent) if found not in seen]
        seen.update(found)
        waiting.extend(found)
    return digest.hexdigest()


def _imported(data: bytes, folder: Path) -> Iterator[Path]:
    """Return the files in `folder`, first on the program's path, that a source imports by name."""
    try:
        imports = read_imports(data, "__main__", False)
    except SyntaxError:
        return
    for parts in sorted(name.split(".") for name in imports.eager | imports.lazy):
        if not all(map(str.isidentifier, parts)):
            continue  # `import_module` takes any text
        place = folder.joinpath(*parts)
        yield from (each for each in (place.with_suffix(".py"), place / "__init__.py") if each.is_file())
