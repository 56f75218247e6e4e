"""What the commands about several hosts do. Imports what needs nats where it is called, and says the line to type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.cli.client import Client, server_here
from devserver.cli.exits import Exit, Problem
from devserver.cli.locate import working_directory
from devserver.cli.output import say, say_json, show_lines, view
from devserver.errors import DevServerError
from devserver.model.names import host_name_problem

if TYPE_CHECKING:
    from devserver.hosts.wanted import Wanted

INSTALL = "python -m pip install 'oa-dev[hosts]'"


def author(name: str | None, engine: str | None, creds: Path | None, *, take_authorship: bool) -> Wanted:
    """What `oa-dev run --hosts` asks for. Raises Problem."""
    _need_nats()
    from devserver.hosts.credentials import BadCredentials, checked_url, read
    from devserver.hosts.wanted import Wanted, own_name

    if engine is None:
        return Wanted(_checked(name) or own_name(), is_author=True, take_authorship=take_authorship)
    try:
        url, credentials = checked_url(engine), read(creds)
    except BadCredentials as error:
        raise Problem(str(error)) from error
    return Wanted(
        _checked(name) or own_name(),
        is_author=True,
        url=url,
        credentials=credentials,
        writer=credentials.writer,
        take_authorship=take_authorship,
    )


def join(url: str, creds: Path | None, name: str | None, flags: Mapping[str, Any], *, as_json: bool) -> int:
    """Be another door of a network: fetch its settings, and serve. Returns the exit code."""
    _need_nats()
    from devserver.cli import serve
    from devserver.hosts.credentials import checked_url, read
    from devserver.hosts.shared import fetched, join_folder, write_workspace
    from devserver.hosts.wanted import Wanted, own_name

    own = _checked(name) or own_name()
    try:
        address, credentials = checked_url(url), read(creds)
        settings, author_name = fetched(address, credentials, own)
        file = write_workspace(join_folder(working_directory(), own), settings, author_name)
    except DevServerError as error:
        raise Problem(str(error)) from error
    except OSError as error:
        raise Problem(f"the folder of this host cannot be written: {error.strerror or error}") from error
    wanted = Wanted(own, is_author=False, url=address, credentials=credentials)
    return serve.run(file, flags, as_json=as_json, hosts=wanted)


def hosts(*, as_json: bool) -> int:
    """Show the hosts of the running network and their engine."""
    from devserver.ui.status import hosts_lines

    _, values = _several()
    if as_json:
        say_json(values)
    else:
        show_lines(hosts_lines(values, view()))
    return Exit.CLEAN


def _several() -> tuple[Client, dict[str, Any]]:
    """Return the server here, and its hosts. Raises Problem where there is one alone."""
    server = server_here()
    values = server.get("hosts", quick=True)
    if values.get("hosts") is None:
        raise Problem("this network has one host", "start it with: oa-dev run --hosts")
    return server, values


def _checked(name: str | None) -> str | None:
    if name is not None and (problem := host_name_problem(name)) is not None:
        raise Problem(f"{name!r} cannot name a host: {problem}")
    return name


def _need_nats() -> None:
    """Raise Problem where the client of the engine is not installed."""
    try:
        import devserver.hosts.link  # noqa: F401 - whether it can be imported is the question
    except ImportError as error:
        raise Problem("networks of several hosts need the extra hosts", INSTALL) from error


def move(mod: str, to: str, *, as_json: bool) -> int:
    """Bring a mod, by path or id, to another host; network.yaml is as before where it does not get there."""
    _checked(to)
    server, _ = _several()
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
