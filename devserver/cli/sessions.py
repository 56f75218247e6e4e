"""Runs a recorded session again, without a server: `oa-dev replay FILE`, also in CI."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devserver.cli.exits import Exit, Problem
from devserver.cli.locate import network_file
from devserver.cli.output import say, say_json, show_lines, view
from devserver.cli.replay_asks import session_file
from devserver.config.network_yaml import read_network
from devserver.errors import ConfigError
from devserver.model.config import NetworkConfig
from devserver.model.facts import PinResult
from devserver.model.observation import Differs, Observation
from devserver.network.compare import Skip
from devserver.replay.code import Code
from devserver.replay.host import Host, ReplayFailed
from devserver.replay.pins import differences_of, noise_of
from devserver.replay.session import BadSession, Input, Session, read_session
from devserver.ui.replay_lines import brief, difference_lines
from devserver.ui.segments import Line, dim, plain, strong
from devserver.ui.words import count, took

EVENT_SECONDS = 5.0
MOST_SECONDS = 600.0
APART_SECONDS = 1.1
"""Seconds between the two runs that measure noise."""
_MOST_KINDS = 20


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of one event of a session."""

    given: Input
    result: PinResult
    differences: tuple[Differs, ...] = ()
    why: str = ""


def replay(file: str, *, at: int | None, as_json: bool) -> int:
    """Run a session twice, and print its differences from the record: any are exit code 1.

    `at`: the number of the event to stop at, which is shown. Raises Problem for a file that is not
    a session, and for a network.yaml that cannot be used.
    """
    path, network = session_file(file), network_file(None)
    try:
        with path.open("rb") as stream:
            session = read_session(stream)
    except (BadSession, OSError) as error:
        raise Problem(f"{file} is not a session: {error}") from error
    try:
        session = session if at is None else session.until(at)
    except BadSession as error:
        raise Problem(str(error)) from error
    try:
        config, began = read_network(network), time.monotonic()
    except ConfigError as error:
        raise Problem("; ".join(map(str, error.problems)), code=Exit.CONFIG) from error
    try:
        found = asyncio.run(_run(session, config, network.parent))
    except ReplayFailed as error:
        raise Problem(str(error), code=Exit.FATAL) from error
    spent = (time.monotonic() - began) * 1000
    if as_json:
        _say_rows(found, spent, session.notes)
    else:
        for each in session.notes:
            say(each)
        _show(found, spent, file, at)
    return Exit.FATAL if any(each.result is PinResult.DIFFERS for each in found) else Exit.CLEAN


async def _run(session: Session, config: NetworkConfig, workspace: Path) -> list[Compared]:
    # No source is given: the process reads them from disk, as a start would.
    code, host = Code(config.enabled_mods, {}, {}), Host(workspace, os.environ)
    message = {"do": "session", **session.message(), "seconds": EVENT_SECONDS, "most_seconds": MOST_SECONDS}
    try:
        first = await _asked(host, code, config, message)
        await asyncio.sleep(APART_SECONDS)
        second = await _asked(host, code, config, message)
        failed = dict(host.failed)
    finally:
        await host.end()
    return [_compared(*each, failed) for each in zip(session.inputs, first, second, strict=True)]


async def _asked(host: Host, code: Code, config: NetworkConfig, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    answer = await host.ask(code, config, message, MOST_SECONDS)
    if "cannot" in answer:
        raise ReplayFailed(f"the session cannot be run again: it {answer['cannot']}")
    rows: list[dict[str, Any]] = answer["all"]
    return rows


def _compared(given: Input, one: dict[str, Any], two: dict[str, Any], failed: Mapping[str, str]) -> Compared:
    missing = [f"{mod_id}: {failed[mod_id]}" for mod_id, _ in given.did.way if mod_id in failed]
    why = "; ".join(dict.fromkeys(missing)) or one.get("cannot") or two.get("cannot")
    if why:
        return Compared(given, PinResult.CANNOT, why=str(why))
    seen, again = Observation.from_dict(one), Observation.from_dict(two)
    skip = Skip(given.unknown | frozenset(noise_of(seen, again)), (seen.at, seen.at))
    found = differences_of(given.did, seen, skip)
    return Compared(given, PinResult.DIFFERS if found else PinResult.SAME, found)


def _say_rows(found: list[Compared], spent: float, notes: list[str]) -> None:
    for each in found:
        row = {
            "type": "session_event",
            "number": each.given.number,
            "event_name": each.given.event["event_name"],
            "result": each.result,
            "why": each.why,
            "differences": [
                {"path": d.path, "before": d.before, "after": d.after, "kind": d.kind} for d in each.differences
            ],
        }
        say_json(row, line=True)
    results = Counter(each.result for each in found)
    totals = {"events": len(found), "same": results[PinResult.SAME], "differ": results[PinResult.DIFFERS]}
    totals["cannot"] = results[PinResult.CANNOT]
    say_json({"type": "session", **totals, "notes": notes, "duration_ms": spent}, line=True)


def _show(found: list[Compared], spent: float, file: str, at: int | None) -> None:
    results = Counter(each.result for each in found)
    say(f"{count(len(found), 'event')} in order, each on the state that the ones before it left - {took(spent)}")
    cannot = [each for each in found if each.result is PinResult.CANNOT]
    differ = results[PinResult.DIFFERS]
    parts = [f"{results[PinResult.SAME]:,} same", f"{differ:,} differ{'s' if differ == 1 else ''}"]
    if cannot:
        parts.append(f"{len(cannot):,} not replayed ({cannot[0].why})")
    say(f"  {', '.join(parts)}")
    show_lines(_kinds(found, file) if at is None else _last(found))


def _kinds(found: list[Compared], file: str) -> list[Line]:
    """Return the differences by kind: how many events, which, where, and the first of them."""
    glyphs = view().look.glyphs
    kinds: dict[tuple[str, str], list[Compared]] = {}
    for each in found:
        if each.result is PinResult.DIFFERS:
            kinds.setdefault((each.given.event["event_name"], each.differences[0].path), []).append(each)
    lines: list[Line] = []
    for (name, _), rows in list(kinds.items())[:_MOST_KINDS]:
        first = rows[0]
        what = f"{brief(first.differences, glyphs)}   first #{first.given.number}"
        lines.append((plain(f"  {len(rows):>4}  "), strong(name), plain(f"   {what}")))
    if kinds:
        first = next(iter(kinds.values()))[0]
        lines.append((dim(f"  oa-dev replay {file} --at {first.given.number} stops there"),))
    return lines


def _last(found: list[Compared]) -> list[Line]:
    last, glyphs = found[-1], view().look.glyphs
    head: Line = (strong(f"  #{last.given.number} {last.given.event['event_name']}"), plain(f"   {last.result}"))
    return [head, *((plain("    "), *row) for row in difference_lines(last.differences, glyphs))]
