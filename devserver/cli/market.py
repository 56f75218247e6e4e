"""The commands that change mods and packages from outside, for typer; `installing` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devserver.cli.options import Json, OnDemand

if TYPE_CHECKING:
    from devserver.cli import installing
else:
    installing = OnDemand("installing")


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use no network: only folders and earlier downloads.")]
Now = Annotated[bool, typer.Option("--now", help="Also take releases that are younger than dev.cooldown.")]

Publisher = Annotated[
    bool, typer.Option("--new-publisher", help="Take releases of another publisher than the locked one.")
]


def add_market(app: typer.Typer) -> None:
    for command in (add, update, remove, sync):
        app.command()(command)


def add(
    what: Annotated[list[str], typer.Argument(metavar="WHAT...", help="A name, a wheel, a folder, or git+file://…")],
    yes: Yes = False,
    offline: Offline = False,
    now: Now = False,
    new_publisher: Publisher = False,
    build: Annotated[bool, typer.Option("--build", help="Run the build of a package that uv does not build.")] = False,
    exactly: Annotated[
        bool, typer.Option("--exactly", help="The name is meant, though it is close to others.")
    ] = False,
    from_index: Annotated[bool, typer.Option("--from-index", help="Take a name that no catalogue lists.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it listed even if it does not load.")] = False,
    beside: Annotated[
        str, typer.Option("--beside", metavar="MOD", help="Run it as another version of this mod, which stays.")
    ] = "",
    label: Annotated[str, typer.Option("--label", metavar="NAME", help="Its label behind the @, with --beside.")] = "",
    share: Annotated[
        str, typer.Option("--share", metavar="10%", help="The part of all agents that get it, with --beside.")
    ] = "",
    agents: Annotated[str, typer.Option("--agents", metavar="A,B", help="The agents that get it, with --beside.")] = "",
    as_json: Json = False,
) -> int:
    """Add mods from elsewhere, after you have seen what they do."""
    from devserver.cli.staging import Asked

    chosen = installing.Choices(
        yes=yes, offline=offline, now=now, new_publisher=new_publisher, as_json=as_json, keep=keep
    )
    asked = Asked(build=build, exactly=exactly, from_index=from_index)
    if beside or label or share or agents:
        from devserver.cli.beside import Beside, add_beside

        return add_beside(chosen, what, asked, Beside(mod=beside, label=label, share=share, agents=agents))
    return installing.add(chosen, what, asked)


def update(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names (default: all).")] = None,
    yes: Yes = False,
    offline: Offline = False,
    now: Now = False,
    new_publisher: Publisher = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave a version locked that does not start.")] = False,
    try_: Annotated[bool, typer.Option("--try", help="Run the new versions as lines beside the running ones.")] = False,
    as_json: Json = False,
) -> int:
    """Bring newer versions, after you have seen what they newly do."""
    chosen = installing.Choices(
        yes=yes, offline=offline, now=now, new_publisher=new_publisher, as_json=as_json, keep=keep
    )
    if try_:
        from devserver.cli.beside import update_beside

        return update_beside(chosen, names or [])
    return installing.update(chosen, names or [])


def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of a mod, its package, or a line.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="For scripts; it does not ask.")] = False,
    offline: Offline = False,
    as_json: Json = False,
) -> int:
    """Take mods from elsewhere out, with what they alone have needed."""
    return installing.remove(installing.Choices(yes=yes, offline=offline, as_json=as_json), names)


def sync(
    yes: Yes = False,
    offline: Offline = False,
    now: Now = False,
    new_publisher: Publisher = False,
    vendor: Annotated[bool, typer.Option("--vendor", help="Copy every locked wheel beside network.yaml.")] = False,
    restore: Annotated[bool, typer.Option("--restore", help="Restore files that were changed by hand.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show uv's derivation of a conflict.")] = False,
    as_json: Json = False,
) -> int:
    """Lock and install what network.yaml and the mods here need."""
    chosen = installing.Choices(
        yes=yes, offline=offline, now=now, new_publisher=new_publisher, as_json=as_json, explain=explain
    )
    return installing.restore(chosen) if restore else installing.sync(chosen, vendor=vendor)
