"""Correctness beside speed: the torture list, run on reloaders that work inside a process, and on ours."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import peers
from bench.harness import Options, Result, Table, Target

_ROOT = Path(__file__).resolve().parents[1]
_CASES = _ROOT / "tests" / "torture"
_RUN = Path(__file__).parent / "sides" / "torture_run.py"
_OURS = "oa-dev"
_ROWS = 56
_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
_UNDER_C = "utf8_locale_c"

_ONE_ROW = {
    "circular_first": "circular",
    "circular_second": "circular",
    "relative_import_both": "relative_import",
}
"""Cases that are one row of the list."""

_KINDS = {
    "failed edits": "syntax_error import_exc_halfway import_error_missing_dep file_deleted",
    "functions and constants": "name_deleted default_args signature_changed closure_body closure_freevars"
    " decorator_changed decorated_body decorator_added decorator_arg_changed lru_cache_body def_inside_if_try"
    " lambda_and_table bom_crlf utf8_locale_c future_annotations c_extension_dep",
    "classes and held instances": "method_deleted class_renamed new_base_class method_body method_added super_call"
    " init_changed_slots unrelated_edit_identity dataclass_fields frozen_dataclass pydantic_fields"
    " held_bound_method_dispatcher",
    "modules and files": "from_import import_attr from_import_class_subclassed chain3 circular pkg_reexport"
    " relative_import lazy_import_in_function new_file data_file_dep",
    "what code leaves behind": "bg_thread bg_asyncio_task bg_asyncio_task_line_changed atexit_handlers"
    " logging_handlers signal_handler registry_append memory_1000_reloads",
    "in flight, and state": "generator_in_flight coroutine_in_flight module_state",
    "saves that change nothing": "touch_only save_unchanged comment_only_edit",
}


@dataclass(frozen=True, slots=True)
class Reloader:
    """One that is run: the name of its adapter, the environment and the package that it needs."""

    adapter: str
    environment: str
    package: str


_PEERS = {
    "hmr": Reloader("hmr", "hmr", "hmr"),
    "jurigged": Reloader("jurigged", "reloaders", "jurigged"),
    "IPython autoreload": Reloader("autoreload", "reloaders", "ipython"),
    "discord.py": Reloader("discord", "reloaders", "discord.py"),
}

Rows = dict[str, bool]
"""Whether each row of the list was passed."""


def measure(options: Options) -> Result:
    """Pass counts by kind, and the rows that only some pass."""
    cases = _cases()
    environments = {name: peers.environment(each.environment) for name, each in _PEERS.items()}
    missing = {
        name: environments[name].missing[each.package]
        for name, each in _PEERS.items()
        if each.package not in environments[name]
    }
    runs = {_OURS: (sys.executable, "ours"), "importlib.reload": (sys.executable, "plain")} | {
        name: (str(environments[name].bin / "python"), each.adapter)
        for name, each in _PEERS.items()
        if name not in missing
    }
    # Two at a time: here nothing is timed.
    with ThreadPoolExecutor(2) as threads:
        passed = threads.map(lambda how: _passed(how[0], how[1], cases, options), runs.values())
        found = dict(zip(runs, passed, strict=True))
    ours = sum(found[_OURS].values())
    target = Target("torture list, rows passed", f"all {_ROWS}", f"{ours} of {len(found[_OURS])}", ours == _ROWS)
    versions = {**peers.environment("reloaders").versions, **peers.environment("hmr").versions}
    return Result((_by_kind(found, missing, options), _by_row(found)), (target,), (), versions, {"passed": dict(found)})


def _cases() -> str:
    """The cases of the tests that are data, as JSON."""
    sys.path.insert(0, str(_CASES))
    from torture_cases import CODE  # type: ignore[import-not-found]
    from torture_cases_classes import CLASSES  # type: ignore[import-not-found]
    from torture_cases_modules import MODULES  # type: ignore[import-not-found]
    from torture_world import source  # type: ignore[import-not-found]

    def files(named: Mapping[str, str | bytes | None]) -> dict[str, str]:
        return {name: base64.b64encode(source(text or "")).decode() for name, text in named.items()}

    return json.dumps(
        [
            {
                "name": each.name,
                "imports": each.imports,
                "hold": each.hold,
                "before": files(each.before),
                "after": files(each.after),
                "asks": {question: tuple(map(repr, answers)) for question, answers in each.asks.items()},
            }
            for each in (*CODE, *CLASSES, *MODULES)
        ]
    )


def _passed(python: str, adapter: str, cases: str, options: Options) -> Rows:
    checks = _run(python, adapter, cases, options, {})
    checks |= _run(python, adapter, cases, options, _LOCALE, _UNDER_C)
    rows: Rows = {}
    for case, found in checks.items():
        row = _ONE_ROW.get(case, case)
        rows[row] = rows.get(row, True) and all(found.values())
    return rows


def _run(
    python: str, adapter: str, cases: str, options: Options, environment: dict[str, str], *wanted: str
) -> dict[str, dict[str, bool]]:
    path = os.pathsep.join([str(_CASES), str(_ROOT)] if adapter == "ours" else [])
    reloads = str(options.count(1000, 60))
    ended = subprocess.run(
        [python, str(_RUN), adapter, *wanted],
        input=cases,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path, "TORTURE_RELOADS": reloads, **environment},
        check=False,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"the torture list did not run on {adapter}: {ended.stderr[-500:]}")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _by_kind(found: dict[str, Rows], missing: dict[str, str], options: Options) -> Table:
    rows = [
        (kind, *(f"{sum(each[row] for row in names.split())} of {len(names.split())}" for each in found.values()))
        for kind, names in _KINDS.items()
    ]
    rows.append(("**all**", *(f"**{sum(each.values())} of {len(each)}**" for each in found.values())))
    notes = (
        "The list of reload cases that our tests are made of, a process for each case. A row is passed when each of its"
        " checks is right; what is held has to answer with the new code. Each reloader is told at once which files were"
        " written: neither watching nor speed decides. Peers run without bytecode, which would make them serve stale"
        f" code. {options.count(1000, 60)} reloads in `memory_1000_reloads`.",
        *(f"Missing: {name}: {why}." for name, why in missing.items()),
    )
    return Table("Correctness: the torture list", ("", *found), tuple(rows), notes)


def _by_row(found: dict[str, Rows]) -> Table:
    names = [row for each in _KINDS.values() for row in each.split()]
    rows = [
        (row, *("yes" if each[row] else "**no**" for each in found.values()))
        for row in names
        if not all(each[row] for each in found.values())
    ]
    others = {name: each for name, each in found.items() if name != _OURS}
    nobody = [row for row in names if not any(each[row] for each in others.values())]
    unsolved = [row for row in names if not any(each[row] for each in found.values())]
    notes = (
        f"No peer passes: {', '.join(nobody) or 'none'}.",
        f"Nobody passes: {', '.join(unsolved) or 'none'}.",
        "Rows that all pass are left out.",
    )
    return Table("Correctness, row by row", ("", *found), tuple(rows), notes)
