"""The commands for versions that run beside mods: as typer sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devserver.cli.options import Json, OnDemand, mods_that_run

if TYPE_CHECKING:
    from devserver.cli import line_commands
else:
    line_commands = OnDemand("line_commands")


Mod = Annotated[str, typer.Argument(metavar="MOD", help="An id or a path.", autocompletion=mods_that_run)]
LineName = Annotated[str, typer.Argument(metavar="LINE", help="As in wiki@next.", autocompletion=mods_that_run)]
Agents = Annotated[str, typer.Option("--agents", metavar="A,B", help="These agents get it.")]
Groups = Annotated[str, typer.Option("--groups", metavar="A,B", help="So do the members of these groups.")]
When = Annotated[str, typer.Option("--when", metavar="JSON", help="And events whose metadata holds all of this.")]
Shadow = Annotated[bool, typer.Option("--shadow", help="It sees copies of the events; nothing of it leaves.")]
Main = Annotated[bool, typer.Option("--main", help="Keep the state of the mod.")]
Mine = Annotated[bool, typer.Option("--mine", help="Keep the state of the line.")]


def add_lines(app: typer.Typer) -> None:
    app.command("try")(try_)
    for command in (split, promote, drop, compare):
        app.command()(command)


def try_(
    mod: Mod,
    agents: Agents = "",
    share: Annotated[str, typer.Option("--share", metavar="10%", help="This part of all agents get it.")] = "",
    groups: Groups = "",
    when: When = "",
    shadow: Shadow = False,
    label: Annotated[str, typer.Option("--label", metavar="NAME", help="What it is called behind the @.")] = "next",
    code: Annotated[str, typer.Option("--code", metavar="PATH", help="Another mod's path instead of its own.")] = "",
    state: Annotated[str, typer.Option("--state", metavar="STATE", help="shared, copy or empty.")] = "",
    as_json: Json = False,
) -> int:
    """Run saves of a mod beside it; what runs stays."""
    body = _rule(agents=agents, share=share, groups=groups, when=when, shadow=shadow)
    body |= {"mod": mod, "label": label} | ({"path": code} if code else {}) | ({"state": state} if state else {})
    return line_commands.try_mod(body, as_json=as_json)


def split(
    line: LineName,
    share: Annotated[str, typer.Argument(metavar="[SHARE]", help="A part of all agents, as in 10%.")] = "",
    agents: Agents = "",
    groups: Groups = "",
    when: When = "",
    shadow: Shadow = False,
    as_json: Json = False,
) -> int:
    """Choose which agents get a version of a mod."""
    body = _rule(agents=agents, share=share, groups=groups, when=when, shadow=shadow)
    return line_commands.ask("split", {**body, "line": line}, as_json=as_json)


def promote(
    line: LineName,
    main: Main = False,
    mine: Mine = False,
    write: Annotated[
        bool, typer.Option("--write", help="Of a version from an index: also in network.yaml and the lock.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Let a version become its mod, in one reload."""
    body = {"line": line, "keep": _keep(main=main, mine=mine)}
    return line_commands.ask("promote", body, write=write, as_json=as_json)


def drop(line: LineName, main: Main = False, mine: Mine = False, as_json: Json = False) -> int:
    """End a version: its agents get the mod again."""
    return line_commands.ask("drop", {"line": line, "keep": _keep(main=main, mine=mine)}, as_json=as_json)


def compare(mod: Mod, as_json: Json = False) -> int:
    """Show what the shadows of a mod did differently."""
    return line_commands.compare(mod, as_json=as_json)


def _rule(*, agents: str, share: str, groups: str, when: str, shadow: bool) -> dict[str, Any]:
    """Return the rule in the control API's form. Raises BadParameter."""
    from devserver.model.split import parse_share

    body: dict[str, Any] = {"agents": _names(agents), "groups": _names(groups), "shadow": shadow}
    if share:
        part = parse_share(share)
        if part is None:
            raise typer.BadParameter(f"{share!r} is not a share: write a percentage, as in 10%")
        body["share"] = part
    if when:
        try:
            body["when"] = json.loads(when)
        except ValueError as error:
            raise typer.BadParameter(f"--when is not JSON: {error}") from error
        if not isinstance(body["when"], dict):
            raise typer.BadParameter("--when is a JSON object")
    if shadow and (share or agents or groups or when):
        raise typer.BadParameter("a shadow gets a copy of everything: leave the other options out")
    return body


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _keep(*, main: bool, mine: bool) -> str:
    if main and mine:
        raise typer.BadParameter("--main or --mine, not both")
    return "main" if main else "line" if mine else ""
