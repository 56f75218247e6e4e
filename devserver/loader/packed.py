"""Imports a package's mods in a process of its own: do they load with the package alone?

The process prints one JSON object: for each mod its number of handlers or its error, and the
distributions of each top name here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds after which an import counts as hanging."""


@dataclass(frozen=True, slots=True)
class Tried:
    """The results of importing a package's mods: handlers by mod, a sentence for a failure.

    `missing` are top names that are not installed here. `distributions` says for a top name which
    ones bring it.
    """

    handlers: dict[str, int]
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    distributions: dict[str, list[str]] | None = None


def try_import(folder: Path, mods: Sequence[str]) -> Tried:
    """Import mods from a folder. Blocks until all are imported."""
    command = [sys.executable, "-P", "-m", __name__, str(folder), *mods]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, cwd=folder)
    except subprocess.TimeoutExpired:
        return Tried({}, (f"its import did not end within {PATIENCE:.0f} s",))
    try:
        found = json.loads(done.stdout.decode("utf-8", "replace").rpartition("\n")[2])
        handlers, problems, missing = found["handlers"], found["problems"], found["missing"]
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return Tried({}, (f"its import ended the process with code {done.returncode}: {' '.join(said)}"[:400],))
    return Tried(handlers, tuple(problems), tuple(missing), found["distributions"])


# In the process of its own


def _main(folder: Path, mods: Sequence[str]) -> None:
    sys.path.append(str(folder))
    found: dict[str, Any] = {"handlers": {}, "problems": [], "missing": []}
    for mod in mods:
        try:
            found["handlers"][mod] = _handlers(mod, folder)
        except ModuleNotFoundError as error:
            top = (error.name or "").partition(".")[0]
            is_own = (folder / top).exists() or (folder / f"{top}.py").exists()
            if top and not is_own:
                found["missing"].append(top)
            else:
                found["problems"].append(f"{mod} cannot be imported: {_said(error, folder)}")
        except BaseException as error:
            found["problems"].append(f"{mod} cannot be imported: {_said(error, folder)}")
    found["distributions"] = importlib.metadata.packages_distributions()
    # Alone on the last line: the output of the import comes before.
    sys.stdout.write("\n" + json.dumps(found))
    sys.stdout.flush()
    # Threads that an import has started do not delay the exit.
    os._exit(0)


def _handlers(mod: str, folder: Path) -> int:
    from devserver.live.handlers import collect_handlers
    from devserver.loader.locate import find_mod_class

    name = f"{mod}.mod" if (folder / mod.replace(".", "/") / "mod.py").is_file() else mod
    mod_class = find_mod_class(importlib.import_module(name), mod.rpartition(".")[2])
    return len(collect_handlers(mod_class()).described())


def _said(error: BaseException, folder: Path) -> str:
    """Return the error with the innermost line of the package that it came from."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(f"{folder}{os.sep}"):
            place = f" at {Path(file).relative_to(folder)}:{trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename and error.filename.startswith(f"{folder}{os.sep}"):
        place = f" at {Path(error.filename).relative_to(folder)}:{error.lineno}"
    return f"{type(error).__name__}: {error}{place}"


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])
