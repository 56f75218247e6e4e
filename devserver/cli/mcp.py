"""`oa-dev mcp`: the commands as tools of the Model Context Protocol on standard input and output.

Prints nothing itself: standard output belongs to the protocol. Each tool answers with the JSON that
its command prints.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from devserver.cli import background, commands, remote
from devserver.cli.client import server_here
from devserver.cli.events import Feed
from devserver.cli.exits import Problem
from devserver.cli.inputs import event_of
from devserver.cli.locate import network_file
from devserver.live import garbage
from devserver.model.event import matches, pattern_problem
from devserver.model.trace import row_to_dict

Answer = dict[str, Any]
Mods = Annotated[list[str], Field(description="Ids or paths of mods; none means all, or the latest.")]
Pattern = Annotated[str, Field(description="An event name or a pattern, as in wiki.page.create or wiki.*")]

_INSTRUCTIONS = """\
A development server for OpenAgents networks. The loop: edit a mod's file, call settle, read `problems` if `runs` is
false (trace has the full error), mend it, call send to ask the mod. A save is brought within milliseconds; what fails
is not brought, and the last good version keeps running. Without a server call run; without a network, new_network."""


def status() -> Answer:
    """Show what runs: mods with generations and errors, agents, address."""
    answer = server_here().status()
    answer.pop("memory", None)
    return answer


def mods(pattern: Pattern = "*") -> Answer:
    """List the mods that run with the events that each handles, and the JSON Schemas of payloads and configurations."""
    return remote.catalogue(pattern)


def send(
    event_name: Annotated[str, Field(description="As in wiki.page.create")],
    payload: Annotated[dict[str, Any], Field(description="What the event carries.")] = {},  # noqa: B006
    to: Annotated[str | None, Field(description="As in agent:ana, channel:general or mod:wiki.")] = None,
    as_agent: Annotated[str | None, Field(description="The agent it comes from.")] = None,
) -> Answer:
    """Send one event into the network and return the answer."""
    return server_here().post("send", {**event_of(event_name, to, None, as_agent), "payload": payload})


def events(
    pattern: Pattern = "*",
    after: Annotated[int | None, Field(description="The `next` of the answer before; none: begin now.")] = None,
    seconds: Annotated[float, Field(ge=0, le=20, description="How long to wait for one.")] = 5.0,
) -> Answer:
    """Return the events that came after a number, waited for. Without a number: where they stand now, and no event."""
    problem = pattern_problem(pattern)
    if problem is not None:
        raise Problem(problem)
    feed = Feed(server_here(), after)
    if after is None:
        return {"next": feed.after, "lost": 0, "events": []}
    rows, lost = feed.news(seconds)
    told = [row_to_dict(each, feed.zero) for each in rows]
    return {"next": feed.after, "lost": lost, "events": [e for e in told if matches(pattern, e["event_name"])]}


def check() -> Answer:
    """Check network.yaml and every mod without starting the network."""
    return commands.checked(network_file(None))


def reload(mods: Mods = []) -> Answer:  # noqa: B006
    """Reload mods, and return the outcome of each."""
    return server_here().post("reload", {"mods": mods})


def undo(mods: Mods = []) -> Answer:  # noqa: B006
    """Go back to before the latest reload, or that of these mods; again: to the one before."""
    return server_here().post("undo", {"mods": mods})


def redo(mods: Mods = []) -> Answer:  # noqa: B006
    """Redo what was undone last."""
    return server_here().post("redo", {"mods": mods})


def restart() -> Answer:
    """Restart in place: connections stay, and state moves along."""
    return remote.restarted_row(server_here())


def settle(
    timeout: Annotated[float, Field(ge=0, le=300, description="Seconds to wait at most.")] = 30.0,
) -> Answer:
    """Wait until it is decided whether what is on disk runs; if not, `problems` says why. Call it after a save."""
    return remote.settled(timeout)


def trace() -> Answer:
    """Return the latest error that was not overcome: facts, frames, and Python's trace."""
    return remote.trace_of(server_here().status())


def new_network(folder: Annotated[str, Field(description="Created if it does not exist.")]) -> Answer:
    """Write a small network with one mod and its test; the other tools are about that network from then on."""
    answer = commands.write_network(Path(folder))
    os.chdir(answer["folder"])
    return answer


def new_mod(name: Annotated[str, Field(description="As in kanban.")]) -> Answer:
    """Write a mod and its test. It runs once network.yaml lists it."""
    return commands.write_mod(name)


def run(
    port: Annotated[int | None, Field(ge=0, le=65535, description="0 takes any free one.")] = None,
) -> Answer:
    """Start the network's server in the background, and return its address once it answers."""
    path = network_file(None)
    given = [] if port is None else ["--port", str(port)]
    started = background.start(path, ["run", str(path), *given])
    return {"ready": True, "url": started.url, "pid": started.pid, "log": str(started.log)}


def stop() -> Answer:
    """Stop the running server."""
    return server_here().post("stop", {}, quick=True)


def _forms() -> dict[Callable[..., Answer], Any]:
    """Return the tools with the forms of their answers, which are those that the commands print."""
    from devserver.model import forms_of_answers as answers

    return {
        status: answers.StatusAnswer,
        mods: answers.CatalogueAnswer,
        send: answers.SentAnswer,
        events: answers.EventsAnswer,
        check: answers.CheckAnswer,
        reload: answers.ANSWERS["reload"],
        undo: answers.ANSWERS["undo"],
        redo: answers.ANSWERS["redo"],
        restart: answers.ANSWERS["restart"],
        settle: answers.SettledAnswer,
        trace: answers.TraceAnswer,
        new_network: answers.WrittenAnswer,
        new_mod: answers.WrittenAnswer,
        run: answers.ReadyAnswer,
        stop: answers.StoppingAnswer,
    }


def serve() -> int:
    """Serve the tools until standard input ends. Raises Problem if the package is missing."""
    try:
        from mcp.server.fastmcp import FastMCP
    except ImportError as error:
        raise Problem("the package mcp is not installed", "pip install 'oa-dev[mcp]'") from error
    server = FastMCP("oa-dev", instructions=_INSTRUCTIONS, log_level="WARNING", tools=tools())
    garbage.end_start()
    server.run("stdio")
    return 0


def tools() -> list[Any]:
    """Return the tools as the package `mcp` has them, each with the JSON Schemas of its arguments and its answer."""
    from mcp.server.fastmcp.tools import Tool

    from devserver.model.forms_of_answers import schema_of

    made = []
    for each, form in _forms().items():
        tool = Tool.from_function(_in_thread(each), name=each.__name__, description=(each.__doc__ or "").strip())
        # Their own way would drop every key that the form does not name.
        tool.fn_metadata.output_schema = schema_of(form)
        made.append(tool)
    return made


def _in_thread(tool: Callable[..., Answer]) -> Callable[..., Any]:
    """Return a tool that waits in a thread, so that pings are answered meanwhile."""

    @functools.wraps(tool)
    async def call(*args: Any, **kwargs: Any) -> Answer:
        return await asyncio.to_thread(tool, *args, **kwargs)

    return call
