"""Runs the torture list on one reloader: `python torture_run.py PEER [CASE ...]`.

The cases that are data come on stdin as JSON, texts base64, answers as `repr`. Each runs in a process of its own, a
fork of this one. Prints JSON: case to check to whether it was right; a case that broke down has one check, false.
"""

# mypy: disable-error-code="import-not-found"
# It stands beside what it imports when it is run.

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from torture_peers import Autoreload, Discord, Hmr, Jurigged, Peer, Plain
from torture_scripts import SCRIPTS, Checks

_PEERS: dict[str, tuple[str, type[Peer]]] = {
    "plain": ("importlib", Plain),
    "autoreload": ("IPython.extensions.autoreload", Autoreload),
    "jurigged": ("jurigged.live", Jurigged),
    "hmr": ("reactivity.hmr.core", Hmr),
    "discord": ("discord.ext.commands", Discord),
}
_SECONDS, _LONG = 20, 60


def main(name: str, wanted: list[str]) -> None:
    """Run what is wanted, all where nothing is."""
    make = _make(name)
    cases: dict[str, tuple[Callable[[Peer], Checks], str]] = {}
    for each in json.load(sys.stdin):
        cases[each["name"]] = partial(_edit, each), each["imports"]
    for script in SCRIPTS:
        cases[script.__name__] = script, "import m"
    found = {case: _apart(make, *how) for case, how in cases.items() if not wanted or case in wanted}
    print(json.dumps(found))


def _make(name: str) -> Callable[[Path, str], Peer]:
    if name == "ours":
        return import_module("torture_ours").Ours  # type: ignore[no-any-return]
    module, made = _PEERS[name]
    # Once, before the forks.
    import_module(module)
    return made


def _edit(case: dict[str, Any], peer: Peer) -> Checks:
    """One edit: what is asked before, and what after."""
    peer.write(_decoded(case["before"]))
    peer.start()
    peer.hold(case["hold"])
    for question, (before, _) in case["asks"].items():
        if _answer(peer, question) != before:
            return {f"before: {question}": False}
    peer.write(_decoded(case["after"]))
    peer.settle()
    return {question: _answer(peer, question) == after for question, (_, after) in case["asks"].items()}


def _decoded(files: dict[str, str]) -> dict[str, bytes | str | None]:
    return {name: base64.b64decode(text) for name, text in files.items()}


def _answer(peer: Peer, question: str) -> str:
    try:
        return repr(peer.ask(question))
    except Exception as error:
        return f"raised {error!r}"


def _apart(make: Callable[[Path, str], Peer], case: Callable[[Peer], Checks], imports: str) -> Checks:
    """The checks of a case that runs in a fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(_LONG if "memory" in getattr(case, "__name__", "") else _SECONDS)
        os.write(writing, json.dumps(_checks(make, case, imports)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        text = said.read()
    os.waitpid(child, 0)
    found: Checks = json.loads(text) if text else {"it ended or took too long": False}
    return found


def _checks(make: Callable[[Path, str], Peer], case: Callable[[Peer], Checks], imports: str) -> Checks:
    with tempfile.TemporaryDirectory() as name, redirect_stdout(sys.stderr):
        folder = Path(name).resolve()
        os.chdir(folder)
        try:
            peer = make(folder, imports)
            found = case(peer)
            peer.stop()
        except Exception as error:
            return {f"{type(error).__name__}: {error}"[:300]: False}
    return found


main(sys.argv[1], sys.argv[2:])
