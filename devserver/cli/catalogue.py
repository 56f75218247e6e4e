"""The commands about available mods, for typer; `finding` and `publishing` do the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devserver.cli.options import OF_ANSWER, Json, OnDemand

if TYPE_CHECKING:
    from devserver.cli import asked as asking
    from devserver.cli import finding, publishing
else:
    asking = OnDemand("asked")
    finding = OnDemand("finding")
    publishing = OnDemand("publishing")


def add_catalogue(app: typer.Typer) -> None:
    for command in (search, show, asked, pack, publish, index):
        app.command()(command)


def search(
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORDS]...", help="All of them have to occur.")] = None,
    as_json: Json = False,
) -> int:
    """Find mods that can be added."""
    return finding.find_mods(" ".join(words or ()), as_json=as_json)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As search shows it, or with a version: polls==1.0.0")],
    source: Annotated[bool, typer.Option("--source", help="Print all of its source.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print the differences from the locked version, or the one before.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show what a mod answers, needs and touches; nothing of it runs."""
    return finding.show_mod(name, source=source, diff=diff, as_json=as_json)


def asked(
    number: Annotated[int | None, typer.Argument(metavar="[N]", help="One of them alone.", min=1)] = None,
    answer: Annotated[str | None, typer.Argument(metavar="[yes|no]", **OF_ANSWER, help="The answer to it.")] = None,
    as_json: Json = False,
) -> int:
    """Show which mods agents ask for, or answer one."""
    return asking.asked(number, answer, as_json=as_json)


def pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A mod, as in mods/polls, or a package.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the wheel is put.")] = Path("dist"),
    build: Annotated[bool, typer.Option("--build", help="Run the build of a package that is not built by uv.")] = False,
    as_json: Json = False,
) -> int:
    """Make a wheel of a mod, and check it."""
    return publishing.pack(folder, to, build=build, as_json=as_json)


def publish(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A wheel, as pack makes it.")],
    to: Annotated[str, typer.Option("--to", metavar="DIR|URL", help="A folder of wheels, or an index.")],
    as_json: Json = False,
) -> int:
    """Publish a wheel to a folder or an index."""
    return publishing.publish(file, to, as_json=as_json)


def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of wheels.")], as_json: Json = False
) -> int:
    """List the mods of a folder of wheels in its index.json."""
    return publishing.index(folder, as_json=as_json)
