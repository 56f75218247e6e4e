"""What each command does; each returns the exit code. Imports what it needs when it is called, so that help is fast."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from devserver import __version__
from devserver.cli.exits import Exit, Problem
from devserver.cli.inputs import event_of, refuse_exposed
from devserver.cli.locate import network_file, working_directory
from devserver.errors import ConfigError, DevServerError, PortInUse
from devserver.model.config import NetworkConfig
from devserver.model.facts import ConfigRefused, PlanDone, Status
from devserver.model.wire_form import error_to_dict, plan_done_from_dict
from devserver.ui.console import is_tty, terminal_width
from devserver.ui.escape import safe
from devserver.ui.look import View, look_of
from devserver.ui.render import render, render_line
from devserver.ui.segments import Block


def run(
    given: Path | None,
    *,
    host: str | None,
    port: int | None,
    strict_port: bool,
    as_json: bool,
    keys: bool,
    watch: bool,
    log_level: str,
) -> int:
    """Run the network until it is stopped."""
    refuse_exposed(host)
    path = network_file(given)
    from devserver.server import RunOptions, run_server
    from devserver.ui.face import console_face, json_face

    face = (
        json_face(sys.stdout, sys.stderr)
        if as_json
        else console_face(sys.stdout, root=path.parent, version=__version__, keys=keys)
    )
    logging.basicConfig(level=log_level.upper(), handlers=[face.log], force=True)
    options = RunOptions(path, host, port, strict_port, watch, face.keys is not None)
    try:
        return run_server(options, face)
    except ConfigError as error:
        face.tell(ConfigRefused(error.problems))
        return Exit.CONFIG
    except PortInUse as error:
        raise Problem(str(error), "leave out --strict-port to take the next free one", Exit.PORT_IN_USE) from error
    finally:
        face.close()


def check(given: Path | None, *, as_json: bool) -> int:
    """Read a network.yaml and say every problem in it; nothing of any mod is imported."""
    path = network_file(given)
    from devserver.reload.network_yaml import read_network
    from devserver.ui.lines import config_refused

    try:
        config = read_network(path)
    except ConfigError as error:
        if as_json:
            _print_json({"ok": False, "problems": [error_to_dict(each) for each in error.problems]})
        else:
            _show(config_refused(error.problems, _view(started=False)))
        return Exit.CONFIG
    if as_json:
        _print_json({"ok": True, "problems": [], "unused": list(config.unused)})
    else:
        _print(_summary(path, config))
    return Exit.CLEAN


def _summary(path: Path, config: NetworkConfig) -> str:
    enabled = config.enabled_mods
    words = f"{path.name} is good: {config.name}, {len(enabled)} of {len(config.mods)} mods enabled"
    return f"{words}; without effect here: {', '.join(config.unused)}" if config.unused else words


def status(*, as_json: bool) -> int:
    """Say what runs in this workspace."""
    from devserver.client import connect
    from devserver.ui.status import status_lines

    values = connect(working_directory()).status()
    if as_json:
        _print_json(values)
        return Exit.CLEAN
    for line in status_lines(values, _view()):
        print(render_line(line, _view().look))
    return Exit.CLEAN


def reload(mods: tuple[str, ...], *, as_json: bool) -> int:
    """Reload mods, all where none is named. Ends with 1 unless every step was applied."""
    from devserver.client import connect
    from devserver.ui.plan_lines import held_back, plan_done

    answer = connect(working_directory()).reload(mods)
    done = _reloaded(answer)
    if as_json:
        _print_json(answer)
        return _applied(done)
    _show(plan_done(done, _view()))
    if done.plan.holds or not done.outcomes:
        _print(held_back(done.plan.holds) or "no mod is loaded")
    return _applied(done)


def _applied(done: PlanDone) -> Exit:
    good = done.outcomes and not done.plan.holds and all(each.status is Status.APPLIED for each in done.outcomes)
    return Exit.CLEAN if good else Exit.FATAL


def _reloaded(answer: Mapping[str, Any]) -> PlanDone:
    """The plan that an answer tells of. Raises DevServerError for an answer of another form."""
    try:
        return plan_done_from_dict(answer)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DevServerError("the server's answer is of another version: start it again") from error


def send(name: str, *, to: str | None, payload: str | None, sender: str | None, as_json: bool) -> int:
    """Send one event and say its answer. Ends with 1 for an answer without success."""
    event = event_of(name, to, payload, sender)
    from devserver.client import connect

    answer = connect(working_directory()).send(event)
    if as_json:
        _print_json(answer)
    else:
        _print(str(answer.get("message") or ("sent" if answer.get("success") else "refused")))
        if answer.get("data"):
            _print_json(answer["data"])
    return Exit.CLEAN if answer.get("success") is True else Exit.FATAL


def _view(started: bool = True) -> View:
    look = look_of(is_tty(sys.stdout), os.environ, encoding=sys.stdout.encoding)
    return View(look, terminal_width(), started)


def _show(blocks: Iterable[Block]) -> None:
    look, now = _view().look, datetime.now().astimezone().strftime("%H:%M:%S")
    sys.stdout.write("".join(render(each, look, now, working_directory()) for each in blocks))


def _print(words: str) -> None:
    print(safe(words))


def _print_json(values: object) -> None:
    # ASCII, so that nothing in a value can steer the terminal.
    print(json.dumps(values, ensure_ascii=True, indent=2 if is_tty(sys.stdout) else None))
