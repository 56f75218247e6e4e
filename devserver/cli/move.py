"""The command `move`: asks the running network to bring a mod to another host."""

from __future__ import annotations

from devserver.cli.client import connect
from devserver.cli.exits import Exit, Problem
from devserver.cli.locate import workspace
from devserver.cli.output import say, say_json
from devserver.model.names import host_name_problem


def move(mod: str, to: str, *, as_json: bool) -> int:
    """Bring a mod, by path or id, to another host; network.yaml is as before where it does not get there."""
    if (problem := host_name_problem(to)) is not None:
        raise Problem(f"{to!r} cannot name a host: {problem}")
    server = connect(workspace())
    if server.get("hosts", quick=True).get("hosts") is None:
        raise Problem("this network has one host", "start it with: oa-dev run --hosts")
    told = server.post("move", {"mod": mod, "to": to})
    if as_json:
        say_json(told)
    elif not told["success"]:
        raise Problem(f"{told['mod_id']} did not move to {to}: {told['note']}; network.yaml is as before")
    else:
        held = told["held"] or {"events": 0}
        waited = f" · {held['events']} events held {held['longest_ms']:.0f} ms" if held["events"] else ""
        say(f"~ {told['mod_id']}   {told['note'] or to}{waited}")
    return Exit.CLEAN if told["success"] else Exit.FATAL
