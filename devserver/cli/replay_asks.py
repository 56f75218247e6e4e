"""The commands of replay that ask a running server; each returns the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devserver.cli.client import Client, server_here
from devserver.cli.exits import Exit, Problem
from devserver.cli.inputs import event_of, object_of, text_of
from devserver.cli.output import say, say_json, show_lines, view
from devserver.model.observation import Differs
from devserver.ui.replay_lines import difference_lines, names_of, pace_words, pin_line, run_line, state_words, value
from devserver.ui.segments import plain, strong
from devserver.ui.terminal import is_tty
from devserver.ui.words import count, took


def given_event(name: str | None, payload: str | None, sender: str | None, to: str | None) -> dict[str, Any] | None:
    """Return the event of the options; None without one. Raises Problem."""
    if name is None:
        if payload is not None or sender is not None or to is not None:
            raise Problem("--payload, --as and --to belong to an event that is given: --event EVENT_NAME")
        return None
    return event_of(name, to, None if payload is None else text_of(payload, "the payload"), sender)


def is_session(text: str) -> bool:
    """Return whether an argument names a session's file, rather than an event."""
    return text.endswith(".jsonl") or "/" in text


def pin(number: str | None, event: dict[str, Any] | None, *, name: str | None, state: str, as_json: bool) -> int:
    """Pin an event, and print its observation."""
    if (number is None) == (event is None):
        raise Problem("name one event: its number, or --event EVENT_NAME", "oa-dev events --last 20 shows numbers")
    body: dict[str, Any] = {"state": state, **({"name": name} if name else {})}
    body |= {"number": _number(number)} if number is not None else {"event": event}
    made = server_here().post("pins", body)
    if as_json:
        say_json(made)
        return Exit.CLEAN
    on = _names(made["generations"]) or "no mod"
    of = "" if made["number"] is None else f" (#{made['number']})"
    say(f"pinned {made['event_name']}{of} on {on} · {state_words(made)} · mods held {took(made['held_ms'])}")
    for each in _observed(made):
        say(f"  {each}")
    return Exit.CLEAN


def _observed(pinned: Mapping[str, Any]) -> list[str]:
    """Return the observation of a pinned event, in a line or two."""
    seen = pinned["accepted"]
    data = seen["data"]
    if not seen["success"]:
        answers = f"fails: {seen['message']}"
    elif isinstance(data, dict):
        answers = f"answers {{{', '.join(data)}}}"
    else:
        answers = f"answers {value(data, 60)}"
    told = f" · tells {count(len(seen['told']), 'agent')}" if seen["told"] else ""
    lines = [answers + told]
    lines += [f"was refused {each}" for each in seen["refused"]]
    lines += seen["notes"]
    if pinned["noise"]:
        lines.append(f"not compared: {', '.join(pinned['noise'])} (differs from run to run)")
    return lines


def pins(*, as_json: bool) -> int:
    answer = server_here().get("pins")
    if as_json:
        say_json(answer)
        return Exit.CLEAN
    glyphs = view().look.glyphs
    show_lines(pin_line(each, glyphs) for each in answer["pins"])
    if not answer["pins"]:
        say("nothing is pinned; oa-dev pin N pins event N, key p the latest that failed")
    for each in answer["problems"]:
        say(each)
    if answer["skipped"]:
        say(f"skipped {count(answer['skipped'], 'save')} in between")
    if answer["off"]:
        say(answer["off"])
    return Exit.CLEAN


def show_pin(name: str, *, as_json: bool) -> int:
    """Show one pin. Exits with 1 if it differs."""
    found = next(
        (each for each in server_here().get("pins")["pins"] if name in (each["name"], str(each["number"]))), None
    )
    if found is None:
        raise Problem(f"there is no pin {name}", "oa-dev pins lists them")
    last = found["last"]
    code = Exit.FATAL if last is not None and last["result"] == "differs" else Exit.CLEAN
    if as_json:
        say_json(found)
        return code
    glyphs = view().look.glyphs
    show_lines([pin_line(found, glyphs)])
    for each in _observed(found):
        say(f"  {each}")
    if found["ignore"]:
        say(f"  ignored: {', '.join(found['ignore'])}")
    if last is not None:
        rows = difference_lines((_differs(each) for each in last["differences"]), glyphs)
        show_lines((plain("  "), *row) for row in rows)
    return code


def accept(name: str, *, as_json: bool) -> int:
    """Accept the present result of a pin."""
    made = server_here().post("pins/accept", {"name": name})
    say_json(made) if as_json else say(f"accepted: {made['name']} is compared with {_names(made['generations'])} now")
    return Exit.CLEAN


def ignore(name: str, path: str, *, as_json: bool) -> int:
    made = server_here().post("pins/ignore", {"name": name, "path": path})
    say_json(made) if as_json else say(f"{made['name']}: {path} is not compared any more")
    return Exit.CLEAN


def remove(name: str, *, as_json: bool) -> int:
    """Forget a pin."""
    made = server_here().post("pins/remove", {"name": name})
    say_json(made) if as_json else say(f"removed {made['removed']}")
    return Exit.CLEAN


def replay(what: str, *, on: str, payload: str | None, for_real: bool, as_json: bool) -> int:
    """Run an event again. Exits with 1 if it failed, cannot run, or differs between generations."""
    server, body = server_here(), _named(what)
    if payload is not None:
        body["payload"] = object_of(text_of(payload, "the payload"), "the payload")
    answer = server.post("replay", {**body, "on": "now" if for_real else on})
    if for_real:
        return _send_again(server, body, answer, as_json=as_json)
    if as_json:
        say_json(answer)
    else:
        _show_runs(answer)
    failed = any("cannot" in each or not each["seen"]["success"] for each in answer["runs"])
    return Exit.FATAL if failed or answer.get("differences") else Exit.CLEAN


def _show_runs(answer: Mapping[str, Any]) -> None:
    number = "" if answer["number"] is None else f" (#{answer['number']})"
    begins = "on the state of its pin" if answer["pin"] else "on the state of now"
    show_lines([(strong(f"{answer['event_name']}{number}"), plain(f" {begins}"))])
    width = max(len(names_of(each)) for each in answer["runs"])
    show_lines(run_line(each, width) for each in answer["runs"])
    for run in answer["runs"]:
        for each in run.get("seen", {}).get("notes", ()):
            say(f"  note     {each}")
        for each in run.get("seen", {}).get("refused", ()):
            say(f"  refused  {each}")
        for raised in run.get("seen", {}).get("raised", ()):
            place = f" at {raised['file']}:{raised['line']}" if raised["file"] else ""
            say(f"  raised   {raised['mod_id']}: {raised['kind']}: {raised['message']}{place}")
    if "differences" in answer:
        rows = difference_lines((_differs(each) for each in answer["differences"]), view().look.glyphs)
        show_lines((plain("  "), *row) for row in rows)
        if not rows:
            say("  the same on both")
        say(f"  {pace_words(answer['took_us'])}")


def _send_again(server: Client, body: dict[str, Any], answer: Mapping[str, Any], *, as_json: bool) -> int:
    """Really send an event, once a person at a terminal has seen its effects and agrees."""
    seen = answer["runs"][0].get("seen")
    if not as_json and is_tty(sys.stdin):
        _show_runs(answer)
        if input(f"send {answer['event_name']} again, for real? [y/N] ").strip().lower() not in ("y", "yes"):
            say("not sent")
            return Exit.CLEAN
    generations = {} if seen is None else seen["generations"]
    sent = server.post("replay", {**body, "for_real": True, "generations": generations})
    if as_json:
        say_json(sent)
    else:
        say(str(sent.get("message") or ("sent" if sent.get("success") else "refused")))
    return Exit.CLEAN if sent.get("success") is True else Exit.FATAL


def write_test(what: str, path: str | None, *, as_json: bool) -> int:
    made = server_here().post("test", {**_named(what), **({"path": path} if path else {})})
    if as_json:
        say_json(made)
        return Exit.CLEAN
    say(f"wrote {made['path']} · it passes · run it: python -m pytest {made['path']}")
    for each in made["warnings"]:
        say(f"  {each}")
    return Exit.CLEAN


def _named(what: str) -> dict[str, Any]:
    """Return an event for a request: by its number, or by the name of a pin."""
    text = what.removeprefix("#")
    return {"number": _number(text)} if text.isdecimal() else {"name": what}


def _number(text: str) -> int:
    text = text.removeprefix("#")
    if not text.isascii() or not text.isdecimal() or len(text) > 15 or int(text) == 0:
        raise Problem(f"{text!r} is not the number of an event", "oa-dev events --last 20 shows numbers")
    return int(text)


def _names(generations: Mapping[str, int]) -> str:
    return ", ".join(f"{mod_id} v{number}" for mod_id, number in generations.items())


def _differs(values: Mapping[str, Any]) -> Differs:
    return Differs(values["path"], values["before"], values["after"], values["kind"])


def session_file(text: str) -> Path:
    """Return the file that an argument names. Raises Problem if it is missing."""
    path = Path(text)
    if not path.is_file():
        raise Problem(f"session {text} does not exist")
    return path
