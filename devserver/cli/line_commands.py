"""The commands for versions beside mods; each returns the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from devserver.cli.client import server_here
from devserver.cli.exits import Exit, Problem
from devserver.cli.output import say, say_json, show_lines, view
from devserver.cli.remote import carried_out
from devserver.errors import DevServerError
from devserver.model.names import module_of
from devserver.ui.escape import safe
from devserver.ui.versions import compare_lines, which_lines


def try_mod(body: Mapping[str, Any], *, as_json: bool) -> int:
    """Load a version beside a mod, and print what saves do now. Exits with 1 if it failed."""
    answer = server_here().post("try", body)
    code = carried_out(answer, as_json=as_json)
    if code == Exit.CLEAN and not as_json and "path" not in body:
        mod, label = body["mod"], body["label"]
        say(f"{mod} stays as it runs; saves of it run as {mod}@{label} until promote or drop")
    return code


def ask(what: str, body: Mapping[str, Any], *, write: bool = False, as_json: bool) -> int:
    """Have a line changed, and show the outcome; network.yaml no longer lists one that has ended.

    `write`: also a promoted version from an index becomes that of its mod there. Exits with 1 unless it was changed.
    """
    answer = server_here().post(what, {**body, **({"write": True} if write else {})})
    code = carried_out(answer, as_json=as_json)
    if code == Exit.CLEAN and what in ("promote", "drop"):
        ended = (each["mod_path"] for each in answer["outcomes"] if each["action"] == "unload")
        line = next((module_of(each) for each in ended if "@" in each), "")
        _write(line, promoted=what == "promote", write=write, as_json=as_json)
    return code


def _write(line: str, *, promoted: bool, write: bool, as_json: bool) -> None:
    # Here and not above: most lines are of no file.
    from devserver.cli.beside import write_ended

    try:
        told = write_ended(line, promoted=promoted, write=write, as_json=as_json)
    except (DevServerError, OSError) as error:
        # What runs is as was asked; only the next start would differ.
        print(safe(f"network.yaml is as before, and lists {line}: {error}"), file=sys.stderr)
        return
    if told and not as_json:
        say(told)


def compare(mod: str, *, as_json: bool) -> int:
    """Show the differences of a mod's shadows. Raises Problem if it has none."""
    answer = server_here().get("compare", mod=mod)
    if as_json:
        say_json(answer)
        return Exit.CLEAN
    if not answer["shadows"]:
        raise Problem(f"{mod} has no shadow: oa-dev try {mod} --shadow", code=Exit.FATAL)
    show_lines(line for each in answer["shadows"] for line in compare_lines(each, view()))
    return Exit.CLEAN


def which(agent: str, mod: str, *, as_json: bool) -> int:
    """Show which version of a mod an agent gets, and why."""
    answer = server_here().get("which", quick=True, agent=agent, mod=mod)
    if as_json:
        say_json(answer)
    else:
        show_lines(which_lines(answer))
    return Exit.CLEAN
