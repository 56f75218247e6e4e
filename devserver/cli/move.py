"""The command `move`: writes `runs_on` of a mod into network.yaml, as a person would, and waits."""

from __future__ import annotations

from devserver.cli.client import connect
from devserver.cli.exits import Exit, Problem
from devserver.cli.following import Followed
from devserver.cli.locate import workspace
from devserver.cli.output import say, say_json
from devserver.config.network_yaml import parse_network
from devserver.market.folder import write_whole
from devserver.market.yaml_edit import CannotEdit, set_in_mod
from devserver.model.names import host_name_problem, mod_id_of, module_of


def move(mod: str, to: str, *, as_json: bool) -> int:
    """Bring a mod, by path or id, to another host; what was written is taken back where it does not get there."""
    folder = workspace()
    here = _here(to)
    file = folder / "network.yaml"
    before = file.read_bytes()
    specs = {name: each for each in parse_network(before).mods for name in (mod_id_of(each.path), module_of(each.path))}
    spec = specs.get(module_of(mod))
    if spec is None:
        raise Problem(f"network.yaml lists no mod {mod!r}")
    if (spec.runs_on or here) == to:
        raise Problem(f"{mod_id_of(spec.path)} runs on {to} already, as network.yaml says")
    try:
        edited = set_in_mod(before.decode(), spec.path, "runs_on", None if to == here else to)
    except CannotEdit as error:
        raise Problem(str(error)) from error
    followed = Followed.begin(folder)
    write_whole(file, edited.text.encode())
    became = followed.wait([spec.path]) if followed is not None else None
    outcomes = [each for plan in became.plans for each in plan.outcomes if each.mod_path == spec.path] if became else []
    good = became is not None and became.good and bool(outcomes)
    if not good:
        write_whole(file, before)
    last = outcomes[-1] if outcomes else None
    why = str(last.error or last.reason) if last is not None else became.note if became else "no server runs"
    if as_json:
        say_json(
            {"success": good, "mod_id": mod_id_of(spec.path), "to": to, "note": last.note if good and last else why}
        )
    elif good and last is not None:
        held = f" · {last.held.events} events held {last.held.longest_ms:.0f} ms" if last.held.events else ""
        say(f"~ {last.mod_id}   {last.note or to}{held}")
    else:
        raise Problem(f"{mod_id_of(spec.path)} did not move to {to}: {why}; network.yaml is as before")
    return Exit.CLEAN if good else Exit.FATAL


def _here(to: str) -> str:
    """The name of this host. Raises Problem where network.yaml is on another one, or there is no such host."""
    if (problem := host_name_problem(to)) is not None:
        raise Problem(f"{to!r} cannot name a host: {problem}")
    rows = connect(workspace()).hosts().get("hosts")
    if rows is None:
        raise Problem("this network has one host", "start it with: oa-dev run --hosts")
    author = next((each["host"] for each in rows if each["author"]), "")
    here = next(str(each["host"]) for each in rows if each["here"])
    if author != here:
        raise Problem(f"network.yaml is on {author}: move mods there")
    there = {each["host"] for each in rows if each["state"] in ("here", "there")}
    if to not in there:
        raise Problem(f"there is no host {to}; there are {', '.join(sorted(there))}")
    return here
