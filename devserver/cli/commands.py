"""What the commands do that need no running server; each returns the exit code.

Imports what it needs when it is called, so that help is fast.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devserver import __version__
from devserver.cli.exits import Exit, Problem
from devserver.cli.inputs import refuse_exposed
from devserver.cli.locate import network_file
from devserver.cli.output import say, say_json, show, show_lines, view
from devserver.errors import ConfigError, PortInUse
from devserver.model.facts import ConfigRefused
from devserver.model.wire_form import error_to_dict
from devserver.settings import SettingError, Settings, read_settings
from devserver.ui.console import is_tty
from devserver.ui.escape import safe


def run(given: Path | None, flags: Mapping[str, Any], *, as_json: bool) -> int:
    """Run the network until it is stopped. `flags` are settings by name, None where not given."""
    refuse_exposed(flags.get("host"))
    path = network_file(given)
    settings = settings_of(path, flags)
    refuse_exposed(settings["host"])
    from devserver.supervised import VARIABLE, Supervised

    if VARIABLE not in os.environ and _is_supervised(settings["supervise"], as_json=as_json):
        return supervise(sys.argv[1:])
    supervised = Supervised.of(os.environ)
    supervised.leave_last_words()
    os.environ.update(settings.variables)
    from devserver.run_options import RunOptions
    from devserver.server import run_server
    from devserver.ui.capture import captured
    from devserver.ui.face import console_face, json_face

    face = (
        json_face(sys.stdout, sys.stderr)
        if as_json
        else console_face(sys.stdout, root=path.parent, version=__version__, keys=settings["keys"])
    )
    logging.basicConfig(level=settings["log_level"].upper(), handlers=[face.log], force=True)
    asked = {name: settings[name] for name in ("host", "port", "strict_port", "watch", "confirm")}
    options = RunOptions(path, keys=face.keys is not None, settings=settings, supervised=supervised, **asked)
    try:
        # Asked anew for each line: the server puts a redactor before it.
        with captured(lambda said: face.log.say(said), keys=face.keys is not None):
            return run_server(options, face)
    except ConfigError as error:
        face.tell(ConfigRefused(error.problems))
        return Exit.CONFIG
    except PortInUse as error:
        raise Problem(str(error), "leave out --strict-port to take the next free one", Exit.PORT_IN_USE) from error
    finally:
        face.close()


def _is_supervised(wanted: bool | None, *, as_json: bool) -> bool:
    """Whether a run shall be supervised: as it was said, otherwise where a person sits at a terminal."""
    from devserver.supervisor import supported

    at_terminal = is_tty(sys.stdin) and is_tty(sys.stdout) and not as_json
    return supported() and (at_terminal if wanted is None else wanted)


def supervise(arguments: Sequence[str]) -> int:
    """Run the server in a process of its own, and again when it crashed."""
    from devserver.supervisor import Supervisor

    return Supervisor(arguments, os.environ, lambda words: print(f"oa-dev: {safe(words)}", file=sys.stderr)).run()


def settings_of(path: Path, flags: Mapping[str, Any]) -> Settings:
    """The settings of a run of this network.yaml. Raises Problem for one that cannot be used."""
    try:
        return read_settings(path.parent, flags, os.environ)
    except SettingError as error:
        raise Problem(str(error), "oa-dev doctor shows every setting with its source") from error


def check(given: Path | None, *, as_json: bool) -> int:
    """Say every problem of a network: 3 for network.yaml, 5 for mods that cannot be loaded. Nothing is started."""
    path = network_file(given)
    from devserver.check import check_network
    from devserver.ui.lines import config_refused, mod_unusable

    found = check_network(path)
    if as_json:
        mods = [{"mod_id": mod, "error": error_to_dict(error)} for mod, error in found.mods]
        unused = list(found.config.unused) if found.config is not None else []
        problems = [error_to_dict(each) for each in found.refused]
        say_json({"ok": found.good, "problems": problems, "mods": mods, "unused": unused})
    elif found.refused:
        show(config_refused(found.refused, view(started=False)))
    else:
        show(mod_unusable(mod, error, view()) for mod, error in found.mods)
    if found.good and not as_json:
        say(found.summary)
    return Exit.CONFIG if found.refused else Exit.MOD_ERRORS if found.mods else Exit.CLEAN


def plan(given: Path | None, *, as_json: bool) -> int:
    """Say what the files on disk would change in the running network, or without one what a start would do."""
    path = network_file(given)
    from devserver.cli.planned import plan_of, planned
    from devserver.ui.lines import config_refused
    from devserver.ui.plan_lines import plan_rows

    plans, problems = planned(path)
    if as_json:
        say_json({"plans": plans, "problems": [error_to_dict(each) for each in problems]})
        return Exit.CONFIG if problems else Exit.CLEAN
    show(plan_rows(plan_of(each), view()) for each in plans)
    show(config_refused(problems, view(started=False)))
    if not plans and not problems:
        say("nothing would change")
    return Exit.CONFIG if problems else Exit.CLEAN


def schema() -> int:
    """Print the JSON Schema of network.yaml."""
    from devserver.scaffold.schema import network_schema

    say_json(network_schema())
    return Exit.CLEAN


def doctor(given: Path | None, flags: Mapping[str, Any], *, as_json: bool) -> int:
    """Say every setting with its source, and what of this machine matters. Ends with 1 where something is wrong."""
    path = network_file(given)
    from devserver.cli.doctor import examined
    from devserver.ui.doctor import doctor_lines

    settings = settings_of(path, flags)
    rows = examined(path, settings)
    if as_json:
        say_json([each.as_dict() for each in rows])
    else:
        show_lines(doctor_lines(rows, view()))
    return Exit.CLEAN if all(each.good for each in rows) else Exit.FATAL


def new_network(folder: Path) -> int:
    """Write a small network that runs, with a mod and its test."""
    from devserver.scaffold import network_files

    return _written(folder, network_files(folder.resolve().name), f"cd {folder} && oa-dev run")


def new_mod(name: str) -> int:
    """Write a small mod with its test into the network of the working directory, and say how to list it."""
    from devserver.reload.network_yaml import mod_name_problem
    from devserver.scaffold import mod_files, mod_name

    path = network_file(None)
    plain = mod_name(name)
    problem = mod_name_problem(f"./{plain}") or mod_name_problem(f"mods.{plain}")
    if problem is not None:
        raise Problem(problem, "a mod is named like kanban or mods.kanban")
    code = _written(path.parent, mod_files(plain), "")
    say(f"list it in {path.name} and save; a running network loads it at once:")
    say(f"    - name: mods.{plain}")
    return code


def _written(folder: Path, files: Mapping[str, str], then: str) -> int:
    """Write files that are not there yet, all or none."""
    there = [each for each in files if (folder / each).exists()]
    if there:
        raise Problem(f"{', '.join(there)} is there already, nothing was written", "choose another name")
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Problem(f"{path} cannot be written: {error.strerror}", code=Exit.FATAL) from error
        say(f"wrote {name}")
    if then:
        say(f"now: {then}")
    return Exit.CLEAN
