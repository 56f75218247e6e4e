"""Typed texts become values, or a problem that names the place of the error. Pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devserver.cli.exits import Problem
from devserver.model.event import event_name_problem
from devserver.model.names import is_loopback

_EXAMPLE = """as in --payload '{"title": "Inbox"}'"""
_SHOWN = 60


def event_of(name: str, to: str | None, payload: str | None, sender: str | None) -> dict[str, Any]:
    """Return the given fields of the event to send. Raises Problem for a bad name or payload."""
    problem = event_name_problem(name)
    if problem is not None:
        raise Problem(problem)
    fields: dict[str, Any] = {
        "event_name": name,
        "payload": object_of(payload, "the payload") if payload is not None else {},
    }
    fields |= {"destination_id": to} if to else {}
    fields |= {"source_id": sender} if sender else {}
    return fields


def text_of(given: str, what: str) -> str:
    """Return the text that an argument gives: itself, with `-` standard input, with `@` a file. Raises Problem."""
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Problem(f"{what} cannot be read: {given[1:]}: {getattr(error, 'strerror', None) or error}") from error


def events_of(text: str) -> list[dict[str, Any]]:
    """Read events, each an object with `event_name` on a line of its own. Raises Problem, which names the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            event = object_of(line, f"line {number}")
            problem = event_name_problem(str(event.get("event_name") or ""))
            if problem is not None:
                raise Problem(f"line {number}: {problem}", 'as in {"event_name": "hello.greet", "payload": {}}')
            found.append(event)
    return found


def object_of(text: str, what: str) -> dict[str, Any]:
    """Read a JSON object. Raises Problem, which calls it `what`, with the first error's column."""
    try:
        values = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        before = error.doc[max(0, error.pos - _SHOWN) : error.pos]
        hint = f"valid JSON up to: {before}" if before.strip() else _EXAMPLE
        raise Problem(f"{what} is not JSON: {error.msg} at {place}", hint) from error
    except RecursionError as error:
        raise Problem(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise Problem(f"{what} is not JSON: {error}", _EXAMPLE) from error
    if not isinstance(values, dict):
        raise Problem(f"{what} is not a JSON object", _EXAMPLE)
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {repeated!r} is there twice")
    return values


def refuse_exposed(host: str | None, allowed: Sequence[str]) -> None:
    """Raise Problem for an address that other machines reach, unless their names are `allowed`.

    Being reachable takes two wishes, so that neither a habit nor a copied line is enough.
    """
    if host is not None and not is_loopback(host) and not allowed:
        raise Problem(
            f"--host {host} would let other machines in, without encryption",
            f"an SSH tunnel does not need this; if you mean it: oa-dev run --host {host} --allow-host NAME",
        )
