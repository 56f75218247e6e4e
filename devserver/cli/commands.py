"""The commands that need no running server; each returns the exit code.

Imports on demand, so that help is fast.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.cli.client import NotRunning, connect
from devserver.cli.exits import Exit, Problem
from devserver.cli.locate import NAME, network_file, working_directory
from devserver.cli.output import say, say_json, show, show_lines, view
from devserver.cli.serve import settings_of
from devserver.errors import ConfigError, DevServerError
from devserver.model.facts import ErrorFacts
from devserver.model.wire_form import error_to_dict, plan_to_dict
from devserver.model.wire_read import error_from_dict

if TYPE_CHECKING:
    from devserver.model import forms
    from devserver.server.check import Checked


def check(given: Path | None, *, as_json: bool) -> int:
    """Print every problem of a network: 3 for network.yaml, 5 for its mods. Starts nothing."""
    path = network_file(given)
    from devserver.server.check import check_network
    from devserver.ui.lines import config_refused, mod_unusable

    found = check_network(path)
    if as_json:
        say_json(_checked(found))
    elif found.refused:
        show(config_refused(found.refused, view(started=False), len(found.refused)))
    else:
        show(mod_unusable(mod, error, view()) for mod, error in found.mods)
    if found.good and not as_json:
        say(found.summary)
    for each in () if as_json else found.notes:
        say(each)
    return Exit.CONFIG if found.refused else Exit.MOD_ERRORS if found.mods else Exit.CLEAN


def checked(path: Path) -> dict[str, Any]:
    """Return the output of `check --json` about a network.yaml."""
    from devserver.server.check import check_network

    return _checked(check_network(path))


def _checked(found: Checked) -> dict[str, Any]:
    mods = [{"mod_id": mod, "error": error_to_dict(error)} for mod, error in found.mods]
    unused, lost = (found.config.unused, found.config.lost) if found.config is not None else ((), ())
    problems = [error_to_dict(each) for each in found.refused]
    keys = {"unused": list(unused), "lost": list(lost)}
    return {"ok": found.good, "problems": problems, "mods": mods, **keys, "notes": list(found.notes)}


def plan(given: Path | None, *, as_json: bool) -> int:
    """Print what the files on disk would change in the running network, or what a start does."""
    path = network_file(given)
    from devserver.model.wire_read import plan_from_dict
    from devserver.ui.lines import config_refused
    from devserver.ui.plan_lines import plan_rows

    plans, problems = _planned(path)
    if as_json:
        say_json({"plans": plans, "problems": [error_to_dict(each) for each in problems]})
        return Exit.CONFIG if problems else Exit.CLEAN
    show(plan_rows(plan_from_dict(each), view()) for each in plans)
    show(config_refused(problems, view(started=False)))
    if not plans and not problems:
        say("nothing would change")
    return Exit.CONFIG if problems else Exit.CLEAN


def schema(of: str) -> int:
    """Print the JSON Schema of network.yaml (`network`), configurations of mods included, or of `--json` (`events`)."""
    if of == "events":
        from devserver.model.forms_of_answers import json_schema

        say_json(json_schema())
    else:
        from devserver.config.schema import network_schema, with_mods

        say_json(with_mods(network_schema(), _config_schemas()))
    return Exit.CLEAN


def _config_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas of configurations by mod: of those that run here, else of those that load.

    Without a server, the mods of the network here are imported in a process of their own, as by
    `check`.
    """
    from devserver.server.check import check_network

    try:
        path = network_file(None)
    except Problem:  # no network here, so no mods
        return {}
    try:
        rows = connect(path.parent).handlers()["mods"]
    except NotRunning:
        return dict(check_network(path).schemas)
    return {row["mod_path"]: row["config_schema"] for row in rows if row["config_schema"] is not None}


def doctor(given: Path | None, *, as_json: bool) -> int:
    """Print settings with their sources, and facts of this machine. A problem is exit code 1."""
    from devserver.cli.doctor import examined

    try:
        path, none_here = network_file(given), ""
    except Problem as problem:
        # The machine can be examined without a network, unless one was named.
        if given is not None:
            raise
        path, none_here = working_directory() / NAME, str(problem)
    from devserver.ui.doctor import doctor_lines

    rows = examined(path, settings_of(path, {}), none_here)
    if as_json:
        say_json([asdict(each) for each in rows])
    else:
        show_lines(doctor_lines(rows, view()))
    return Exit.CLEAN if all(each.good for each in rows) else Exit.FATAL


def new_network(folder: Path, *, as_json: bool) -> int:
    """Write a small network that runs, with a mod and its test."""
    here = working_directory() == folder.resolve()
    then = "oa-dev run" if here else f"cd {shlex.quote(str(folder))} && oa-dev run"
    return _told(write_network(folder), f"now: {then}", as_json=as_json)


def write_network(folder: Path) -> dict[str, Any]:
    """Write the files of a small network, and return which."""
    from devserver.cli.scaffold import network_files

    return _written(folder, network_files(folder.resolve().name))


def new_mod(name: str, *, package: bool = False, as_json: bool) -> int:
    """Write a small mod with its test here, or as a package of its own; print the next step."""
    from devserver.cli.scaffold import mod_name

    if package:
        folder = mod_name(name).replace("_", "-")
        return _told(write_package(name), f"now: cd {folder} && python -m pytest && oa-dev pack .", as_json=as_json)
    answer = write_mod(name)
    then = f"list it in network.yaml and save; a running network loads it at once:\n    - name: mods.{mod_name(name)}"
    return _told(answer, then, as_json=as_json)


def write_mod(name: str) -> dict[str, Any]:
    """Write the files of a small mod into the network here, and return which. Raises Problem for a bad name."""
    from devserver.cli.scaffold import mod_files

    path = network_file(None)
    return _written(path.parent, mod_files(_plain(name)))


def write_package(name: str) -> dict[str, Any]:
    """Write a mod as a package into a folder of its own here, and return its files. Raises Problem for a bad name."""
    import sys

    from devserver import __version__
    from devserver.cli.scaffold import package_files

    plain = _plain(name)
    if plain in (*sys.stdlib_module_names, "mods", "devserver"):
        raise Problem(f"{plain} cannot name a package: Python or oa-dev has that name", "choose another name")
    folder = plain.replace("_", "-")
    files = package_files(plain, __version__)
    return _written(working_directory(), {f"{folder}/{each}": text for each, text in files.items()})


def _plain(name: str) -> str:
    """Return the name of a mod as its module has it. Raises Problem for an invalid one."""
    from devserver.cli.scaffold import mod_name
    from devserver.model.names import mod_name_problem

    plain = mod_name(name)
    problem = mod_name_problem(f"./{plain}") or mod_name_problem(f"mods.{plain}")
    # Its class is named after it, and cannot begin with a digit.
    if problem is not None or not plain.isidentifier():
        raise Problem(f"{name!r} is not a valid mod name", "a mod is named like kanban or mods.kanban")
    return plain


def new_agent(name: str, *, as_json: bool) -> int:
    """Write an agent as a script beside the network of the working directory."""
    from devserver.cli.scaffold import agent_files
    from devserver.network.identity import agent_id_problem

    path = network_file(None)
    problem = agent_id_problem(name)
    if problem is not None:
        raise Problem(problem, "an agent is named like ana")
    files = agent_files(name)
    file = next(iter(files))
    then = f"now: oa-dev run, and beside it: python {file}\nor let oa-dev run start it: dev: {{agents: [{file}]}}"
    return _told(_written(path.parent, files), then, as_json=as_json)


def _told(answer: Mapping[str, Any], then: str, *, as_json: bool) -> int:
    if as_json:
        say_json(answer)
        return Exit.CLEAN
    for each in answer["files"]:
        say(f"wrote {each}")
    for each in then.split("\n"):
        say(each)
    return Exit.CLEAN


def _written(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """Write files that do not exist yet, all or none; return them."""
    there = [each for each in files if os.path.lexists(folder / each)]
    if there:
        verb = "is" if len(there) == 1 else "are"
        raise Problem(f"{', '.join(there)} {verb} there already, nothing was written", "choose another name")
    begun: list[Path] = []
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                begun.append(path)
                file.write(text)
        except OSError as error:
            # What is there would be refused when it is tried again.
            for each in begun:
                each.unlink(missing_ok=True)
            raise Problem(f"{path} cannot be written: {error.strerror}", code=Exit.FATAL) from error
    return {"folder": str(folder.resolve()), "files": list(files)}


def _planned(path: Path) -> tuple[list[forms.PlanForm], tuple[ErrorFacts, ...]]:
    """Return plans in their wire form, or why they are missing."""
    try:
        answer = connect(path.parent).get("plan")
    except NotRunning:
        return _of_a_start(path)
    try:
        return list(answer["plans"]), tuple(error_from_dict(each) for each in answer["problems"])
    except (KeyError, TypeError, ValueError) as error:
        raise DevServerError("the server's answer is of another version: start it again") from error


def _of_a_start(path: Path) -> tuple[list[forms.PlanForm], tuple[ErrorFacts, ...]]:
    # Here and not above: a running server does not need it.
    from devserver.agent_network import AgentNetwork
    from devserver.model.change import ConfigChanged

    try:
        network = AgentNetwork.load(path)
    except ConfigError as error:
        return [], error.problems
    network.engine.environment.begin()
    made = network.plan(ConfigChanged(network.config, cause="start"))
    return [plan_to_dict(made)], ()
