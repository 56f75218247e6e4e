"""The command `asked`: shows the mods that agents ask for, and answers; yes adds the mod first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devserver.cli.client import Client, ServerRefused, server_here
from devserver.cli.exits import Exit, Problem
from devserver.cli.output import say, say_json, show_lines
from devserver.ui.catalogue import asked_lines


def asked(number: int | None, answer: str | None, *, as_json: bool) -> int:
    """Show the waiting requests; with a number that mod's facts; with an answer, give it."""
    server = server_here()
    waiting = server.get("asked", quick=True)["asked"]
    if number is None:
        say_json({"asked": waiting}) if as_json else show_lines(asked_lines(waiting))
        return Exit.CLEAN
    row = next((each for each in waiting if each["number"] == number), None)
    if row is None:
        raise Problem(f"nothing waits under the number {number}", code=Exit.FATAL)
    if answer is None:
        return _shown(row, as_json=as_json)
    if answer == "yes" and not _runs(server, row):
        from devserver.cli.installing import Choices, add
        from devserver.cli.staging import Asked

        # As `add` does; the answer was given to the mod of this digest.
        code = add(Choices(yes=True, as_json=as_json, sha256=row["sha256"]), [row["name"]], Asked())
        if code != Exit.CLEAN:
            return code
    try:
        told = server.post("asked", {"number": number, "answer": answer, "sha256": row["sha256"]})
    except ServerRefused as error:
        raise Problem(f"{row['agent_id']} was not answered: {error}", code=Exit.FATAL) from error
    say_json(told) if as_json else say(f"{row['agent_id']} is told: {told['state']}")
    return Exit.CLEAN


def _runs(server: Client, row: Mapping[str, Any]) -> bool:
    """Return whether the requested mod runs already: then there is nothing to add."""
    found = server.get("catalogue", q=row["name"]).get("mods", [])
    mods = [mod for each in found if each["name"] == row["name"] for mod in each["mods"]]
    return any(each.get("mod_path") in mods for each in server.status().get("mods", []))


def _shown(row: Mapping[str, Any], *, as_json: bool) -> int:
    from devserver.cli.finding import show_mod

    if not as_json:
        show_lines(asked_lines([row]))
    wanted = f"{row['name']}=={row['version']}" if row["version"] else str(row["name"])
    code = show_mod(wanted, source=False, diff=False, as_json=as_json)
    if not as_json:
        say(f"oa-dev asked {row['number']} yes adds it, oa-dev asked {row['number']} no refuses it")
    return code
