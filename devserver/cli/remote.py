"""The commands that ask a running server; each returns the exit code."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from devserver.cli.client import Client, NotRunning, connect, server_here
from devserver.cli.exits import Exit, Problem
from devserver.cli.inputs import event_of, events_of, text_of
from devserver.cli.locate import network_file, workspace
from devserver.cli.output import say, say_json, show, show_lines, view
from devserver.errors import DevServerError
from devserver.model.event import matches, pattern_problem
from devserver.model.facts import PlanDone, PlanMade, Status
from devserver.model.names import mod_id_of
from devserver.model.wire_read import error_from_dict, plan_done_from_dict, restarted_from_dict
from devserver.server.door import write_door
from devserver.server.runfile import FOLDER
from devserver.ui.browser import browse
from devserver.ui.contract import contract_lines
from devserver.ui.handlers import handler_lines
from devserver.ui.lines import config_refused
from devserver.ui.plan_lines import held_back, is_of_needs, plan_done, plan_made, plan_rows, restart_planned, restarted
from devserver.ui.status import held_lines, memory_lines, status_lines
from devserver.ui.why import why_lines
from devserver.ui.words import session_words

PROMOTED = "promoted.json"
"""The files before the last promotion that was written to network.yaml; `promoted` writes and reads it."""

RESTART_SECONDS = 120.0
"""Seconds that a restart is waited for: handlers may have to finish, and mods to be loaded."""

_SAID = {"pause": "paused: saves wait", "resume": "resumed: reloading on save again", "apply": "nothing waited"}


def status(mod: str | None = None, *, held: bool = False, memory: bool = False, as_json: bool) -> int:
    """Show the running network of this workspace, or one mod alone. `held` shows the holders of
    replaced code instead, `memory` the accounts of what is kept for agents."""
    server = server_here()
    values = server.status()
    if mod is not None:
        for kind in ("mods", "down"):
            values[kind] = [each for each in values[kind] if mod in (each["mod_id"], each["mod_path"])]
        if not (values["mods"] or values["down"]):
            raise Problem(f"no mod {mod} runs here")
    if as_json and memory:
        say_json({"memory": values.get("memory", [])})
    elif as_json:
        say_json(_with_handlers(values, server.handlers()))
    else:
        lines = memory_lines if memory else held_lines if held else status_lines
        show_lines(lines(values, view()))
    return Exit.CLEAN


def _with_handlers(values: dict[str, Any], catalogue: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status, with the handlers of each generation that it names."""
    known = {(each["mod_id"], each["generation"]): each for each in catalogue["mods"]}
    for row in values["mods"]:
        found = known.get((row["mod_id"], row["generation"]), {})
        row |= {"handlers": found.get("handlers", []), "config_schema": found.get("config_schema")}
    return values


def handlers(pattern: str, *, as_json: bool) -> int:
    """Print the events that the mods handle, with the payload of each."""
    mods = catalogue(pattern)["mods"]
    if as_json:
        say_json({"mods": mods})
    elif mods:
        show_lines(handler_lines(mods, view()))
    else:
        say(f"no mod handles {pattern}" if pattern != "*" else "no mod runs")
    return Exit.CLEAN


def catalogue(pattern: str) -> dict[str, Any]:
    """Return the mods that run, with the handlers of events that `pattern` covers. Raises Problem
    for a bad pattern."""
    problem = pattern_problem(pattern)
    if problem is not None:
        raise Problem(problem)
    mods = [_narrowed(each, pattern) for each in server_here().handlers()["mods"]]
    return {"mods": [each for each in mods if each["handlers"] or pattern == "*"]}


def _narrowed(row: Mapping[str, Any], pattern: str) -> dict[str, Any]:
    """Return a mod's row with only the handlers of an event which `pattern` covers."""
    own = [h for h in row["handlers"] if any(matches(pattern, e) or matches(e, pattern) for e in h["events"])]
    return {**row, "handlers": own}


def trace(*, as_json: bool) -> int:
    """Print the whole trace of the latest error that has not been overcome."""
    answer = trace_of(server_here().status())
    if as_json:
        say_json(answer)
        return Exit.CLEAN
    for each in answer["trace"].splitlines() or ["no error"]:
        say(each)
    return Exit.CLEAN


_FRAME = re.compile(r'^  File "(.*)", line (\d+), in (.*)\n(?:    (.*)\n)?', re.MULTILINE)


def trace_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the latest error of a status: as facts, as Python's trace, and as frames."""
    error = dict(status.get("last_error") or {})
    text = str(error.pop("trace", None) or "")
    frames = [
        {"file": found[1], "line": int(found[2]), "function": found[3], "source": (found[4] or "").strip()}
        for found in _FRAME.finditer(text)
    ]
    return {"error": error or None, "trace": text, "frames": frames}


def edit(*, print_only: bool) -> int:
    """Open the place of the latest error in the editor. Raises Problem if there is no editor, or no place."""
    from contextlib import nullcontext

    from devserver.cli.serve import settings_of
    from devserver.ui.editor import NO_EDITOR, chosen_editor, edit_of, open_in

    error = trace_of(server_here().status())["error"]
    if error is None or error["file"] is None:
        raise Problem("no error with a place in a file", code=Exit.FATAL)
    path = network_file(None)
    editor = chosen_editor(settings_of(path, {})["editor"], os.environ)
    command = edit_of(editor, path.parent / error["file"], error["line"] or 1)
    if command is None:
        raise Problem(NO_EDITOR)
    if print_only:
        say(shlex.join(command.command))
        return Exit.CLEAN
    if problem := open_in(command, nullcontext()):
        raise Problem(problem, code=Exit.FATAL)
    return Exit.CLEAN


def settle(*, timeout: float, as_json: bool) -> int:
    """Wait until it is decided whether the code on disk runs, and print it: 0 if so, else 1."""
    answer = settled(timeout)
    if as_json:
        say_json(answer)
    elif answer["runs"]:
        say("what is on disk is what runs")
    else:
        for each in answer["problems"]:
            say(_problem_words(each))
    for each in [] if as_json else answer["ignored"]:
        say(f"{each['path']} saved, no reload: {each['rule']}")
    return Exit.CLEAN if answer["runs"] else Exit.FATAL


def settled(timeout: float) -> dict[str, Any]:
    """Ask until it is decided, also over a restart. Raises NotRunning if the server stays away."""
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            answer = server_here().settle(max(0.0, left))
        except NotRunning:
            if left <= 0:
                raise
            time.sleep(_AGAIN)
            continue
        if answer["settled"] or left <= 0:
            return answer


_AGAIN = 0.05
"""Seconds after which a silent server is asked again."""


def _problem_words(row: Mapping[str, Any]) -> str:
    error, files = row.get("error"), ", ".join(row["files"])
    place = ":".join(str(error[each]) for each in ("file", "line", "column") if error.get(each)) if error else ""
    told = f"{error['kind']}: {error['message']}" if error else ""
    holders = ", ".join(str(each["what"]) for each in row["holders"])
    parts = (row["mod_id"], row["why"], files, told, place, holders)
    return ": ".join(each for each in parts if each)


def wait_ready(*, timeout: float, as_json: bool) -> int:
    """Wait until a server answers here: 0 if one does, 1 if none came in time."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            status = server_here().status()
        except NotRunning:
            status = {}
        if status or time.monotonic() >= deadline:
            break
        time.sleep(_AGAIN)
    if as_json:
        say_json({"ready": bool(status), "url": status.get("url"), "pid": status.get("pid")})
    else:
        say(f"ready at {status['url']}" if status else f"no oa-dev is ready here within {timeout:g} s")
    return Exit.CLEAN if status else Exit.FATAL


def open_page(*, print_only: bool, as_json: bool) -> int:
    """Open the dashboard in the browser. Without one, or with `print_only`, print its address."""
    folder = workspace()
    server = connect(folder)
    # A file, and not the address: every user of this machine can read the arguments of a browser.
    door = None if print_only else write_door(folder, server.url, server.post("tickets", {}, quick=True)["ticket"])
    opened = door is not None and browse(door)
    if as_json:
        say_json({"url": server.page, "opened": opened})
    elif opened:
        say("opened the dashboard in the browser")
    else:
        say(server.page)
    return Exit.CLEAN


def unload(mod: str, *, force: bool, cascade: bool, as_json: bool) -> int:
    """Unload a mod. Exits with 1 unless it was unloaded."""
    answer = server_here().post("unload", {"mod_path": mod, "force": force, "cascade": cascade})
    code = carried_out(answer, as_json=as_json)
    first: list[str] = next((each["cascade"] for each in answer["holds"] if each.get("cascade")), [])
    if first and not as_json:
        order = f"{', '.join(first)}, then {mod_id_of(mod)}"
        say(f"  --cascade unloads them too ({order}); --force leaves them without it")
    return code


def why(name: str, *, as_json: bool) -> int:
    """Print why a mod or a package runs. Exits with 1 for an unknown name."""
    answer = server_here().get("why", quick=True, name=name)
    if as_json:
        say_json(answer)
    else:
        show_lines(why_lines(answer, view()))
    return Exit.CLEAN if answer["kind"] != "unknown" else Exit.FATAL


def restart(*, as_json: bool) -> int:
    """Restart in place and print the result. Exits with 1 if it failed, or a mod did."""
    row = restarted_row(server_here())
    if as_json:
        say_json(row)
        return Exit.CLEAN if row.get("success") is True and "restarted" in row else Exit.FATAL
    if "restarted" in row:
        return _waited(row, as_json=False)
    plan = _done(row).plan if "timeout" not in row else None
    if plan is not None and plan.restart is not None:
        show((restart_planned(plan.restart, view()),))
    else:
        say("no restart yet")
    return Exit.FATAL


def restarted_row(server: Client) -> dict[str, Any]:
    """Have the server restart in place; return the result: a restart, a plan, or nothing yet."""
    deadline = time.monotonic() + RESTART_SECONDS
    number = server.reloads()["next"]
    answer = server.post("restart", {})
    plan = _done(answer).plan
    if plan.restart is not None and plan.restart.waits:
        return answer
    while (left := deadline - time.monotonic()) > 0:
        rows = server.reloads_after(number, left)
        number = rows[-1]["number"] if rows else number
        found = next((each for each in rows if "restarted" in each or _waits_again(each)), None)
        if found is not None:
            return found
    return {"success": False, "timeout": True, "number": number}


def _waits_again(row: Mapping[str, Any]) -> bool:
    """Return whether the system has refused a restart that was begun."""
    restart = row.get("restart")
    return isinstance(restart, Mapping) and bool(restart.get("waits"))


def undo(mods: tuple[str, ...], *, as_json: bool) -> int:
    """Undo the last reload of mods, or the latest. Exits with 1 unless every step was applied."""
    server = server_here()
    if (workspace() / FOLDER / PROMOTED).exists():
        # Here and not above: rarely there, and it takes time to import.
        from devserver.cli.promoted import undo as undo_promoted

        if (code := undo_promoted(workspace(), server, mods, as_json=as_json)) is not None:
            return code
    return carried_out(server.post("undo", {"mods": list(mods)}), as_json=as_json)


def asked(path: str, body: Mapping[str, Any], *, as_json: bool) -> Exit:
    """Ask for a plan, and show the result as `carried_out`."""
    return carried_out(server_here().post(path, body), as_json=as_json)


def carried_out(answer: Mapping[str, Any], *, as_json: bool) -> Exit:
    """Show the result of a trigger. The code is 1 unless every step was applied."""
    if as_json:
        say_json(answer)
        return _applied(_done(answer))
    return _told(answer)


def send(name: str, *, to: str | None, payload: str | None, sender: str | None, as_json: bool) -> int:
    """Send one event and print its answer. Exits with 1 for an answer without success."""
    if name == "-" or name.startswith("@"):
        return _send_all(text_of(name, "the events"), to, sender)
    event = event_of(name, to, None if payload is None else text_of(payload, "the payload"), sender)
    answer = server_here().post("send", event)
    if as_json:
        say_json(answer)
    else:
        say(str(answer.get("message") or ("sent" if answer.get("success") else "refused")))
        if answer.get("data"):
            say_json(answer["data"])
    return Exit.CLEAN if answer.get("success") is True else Exit.FATAL


def _send_all(text: str, to: str | None, sender: str | None) -> int:
    """Send a sequence of events, one after the other, and print each answer as a line of JSON."""
    given = {**({"destination_id": to} if to else {}), **({"source_id": sender} if sender else {})}
    events, server = events_of(text), server_here()
    good = True
    for event in events:
        answer = server.post("send", {**given, **event})
        say_json(answer, line=True)
        good = good and answer.get("success") is True
    return Exit.CLEAN if good else Exit.FATAL


def saves(do: str, *, as_json: bool) -> int:
    """Pause, apply or resume. Exits with 1 if a held save could not be applied."""
    answer = server_here().post("saves", {"do": do})
    done = answer.get("done") or []
    if as_json:
        say_json(answer)
        return max((_applied(_done(each)) for each in done), default=Exit.CLEAN)
    if not done:
        say(_SAID[do])
    return max([_told(each) for each in done], default=Exit.CLEAN)


def log(level: str, *, as_json: bool) -> int:
    answer = server_here().post("log", {"level": level}, quick=True)
    say_json({"level": answer["level"]}) if as_json else say(f"log level: {answer['level']}")
    return Exit.CLEAN


def contract(*, as_json: bool) -> int:
    """Show the effects of changes of mods on their users."""
    told = server_here().get("contract")
    if as_json:
        say_json(told)
    elif lines := contract_lines(told["lost"], told["changed"], view()):
        show_lines(lines)
    else:
        say("no event has lost its handler, and what is answered has the shape that it had")
    return Exit.CLEAN


def record(do: str, *, as_json: bool) -> int:
    """Begin a session, or end it."""
    told = server_here().post("record", {"do": do})
    if as_json:
        say_json(told)
    elif do == "start":
        say(f"recording {told['recording']}; oa-dev record stop ends it")
    else:
        say(session_words(told["session"]) if told["session"] else "no session was recorded")
    return Exit.CLEAN


def stop(*, as_json: bool) -> int:
    """End the server."""
    told = server_here().post("stop", {}, quick=True)
    say_json(told) if as_json else say("stopping")
    return Exit.CLEAN


def wait_reload(*, timeout: float, after: int | None, as_json: bool) -> int:
    """Wait for the next plan, and print its result: 0 if it was applied, 1 if not or none came."""
    server, deadline = server_here(), time.monotonic() + timeout
    number = server.reloads()["next"] if after is None else after
    while (left := deadline - time.monotonic()) > 0:
        found = server.reloads(number, left)["reloads"]
        if found:
            return _waited(found[0], as_json=as_json)
    if as_json:
        say_json({"success": False, "timeout": True, "number": number})
    else:
        say(f"no reload within {timeout:g} s")
    return Exit.FATAL


def _waited(row: Mapping[str, Any], *, as_json: bool) -> int:
    if as_json:
        say_json(row)
        return Exit.CLEAN if row.get("success") is True else Exit.FATAL
    if "restarted" in row:
        show((restarted(restarted_from_dict(row["restarted"]), view()),))
        return Exit.CLEAN if row["success"] else Exit.FATAL
    if "refused" in row:
        show(config_refused(tuple(error_from_dict(each) for each in row["refused"]), view()))
        return Exit.FATAL
    return _told(row)


def _told(answer: Mapping[str, Any]) -> Exit:
    """Print the result of a plan as the console does; also mods that are no longer needed."""
    done = _done(answer)
    if is_of_needs(done.plan) and len(done.plan.steps) > 1:
        show((plan_rows(done.plan, view()),))
    else:
        # One mod, which the person has named: no rows before.
        done = replace(done, plan=replace(done.plan, groups=()))
    show(plan_done(done, view()))
    if done.then is not None:
        show((*plan_made(PlanMade(done.then.plan), view()), *plan_done(done.then, view())))
    if done.plan.holds or not done.outcomes:
        say(held_back(done.plan.holds) or "no mod is concerned")
    return _applied(done)


def _applied(done: PlanDone) -> Exit:
    good = done.outcomes and not done.plan.holds and all(each.status is Status.APPLIED for each in done.outcomes)
    return Exit.CLEAN if good else Exit.FATAL


def _done(answer: Mapping[str, Any]) -> PlanDone:
    """Return the plan of an answer. Raises DevServerError for an answer of another form."""
    try:
        return plan_done_from_dict(answer)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DevServerError("the server's answer is of another version: start it again") from error
