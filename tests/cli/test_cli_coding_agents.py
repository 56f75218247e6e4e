"""What a coding agent works with: one command that says whether a save runs, JSON everywhere, tools over MCP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nursery import run
from processes import ECHO_BROKEN, ECHO_V2, NETWORK, OA_DEV, PATIENCE, Running, environment, oa_dev, write
from pydantic import TypeAdapter

from devserver.cli.mcp import tools
from devserver.model import forms, forms_of_answers


def settled(folder: Path) -> dict[str, Any]:
    """What `settle --json` says; its form is the documented one, and its exit code says the same."""
    done = oa_dev(folder, "settle", "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    TypeAdapter(forms_of_answers.SettledAnswer).validate_python(told)
    assert done.returncode == (0 if told["runs"] else 1)
    return told


def kinds(told: dict[str, Any]) -> list[tuple[str, str | None]]:
    """The problems, by kind and mod."""
    return [(each["kind"], each["mod_id"]) for each in told["problems"]]


# settle


def test_settle_after_a_save_says_whether_it_runs_and_why_not(server: Running) -> None:
    """A good save runs; a broken one is told with its place; mended it runs again; nothing is waited for by time."""
    folder = server.folder
    assert settled(folder)["runs"]
    write(folder, echo=ECHO_V2)
    assert settled(folder)["runs"]
    assert oa_dev(folder, "send", "echo.say", "--payload", '{"text": "hi"}').stdout.startswith("said again\n")
    write(folder, echo=ECHO_BROKEN)
    told = settled(folder)
    assert kinds(told) == [("failed", "echo")]
    assert told["problems"][0]["error"]["file"] == "mods/echo/mod.py"
    assert "echo: the saved version failed, v2 keeps running: " in oa_dev(folder, "settle").stdout
    write(folder, echo=ECHO_V2)
    assert settled(folder)["problems"] == []
    assert oa_dev(folder, "settle").stdout.startswith("what is on disk is what runs\n")


def test_settle_tells_what_was_undone_refused_paused_and_ignored(server: Running) -> None:
    """Each with its kind and its files; nothing of it is a failure of the command."""
    folder = server.folder
    write(folder, echo=ECHO_V2)
    assert settled(folder)["runs"]
    oa_dev(folder, "undo")
    told = settled(folder)
    assert (kinds(told), told["problems"][0]["files"]) == ([("differs", "echo")], ["mods/echo/mod.py"])
    oa_dev(folder, "redo")
    write(folder, "network: [\n", ECHO_V2)
    assert kinds(settled(folder)) == [("refused", None)]
    write(folder, NETWORK, ECHO_V2)
    assert settled(folder)["runs"]
    (folder / "mods" / "echo" / "notes.md").write_text("a note")
    server.until(type="ignored", path="mods/echo/notes.md")
    assert [each["path"] for each in settled(folder)["ignored"]][-1] == "mods/echo/notes.md"
    oa_dev(folder, "pause")
    write(folder, echo=ECHO_V2 + "\n# more\nMORE = 1\n")
    server.until(type="notice", message="mods/echo/mod.py saved; 1 save waits, oa-dev apply applies it")
    assert kinds(settled(folder))[0] == ("waiting", None)


# In the background


@pytest.fixture
def detached(tmp_path: Path) -> Iterator[Path]:
    """A folder whose server, if one was started, is stopped afterwards."""
    yield write(tmp_path)
    oa_dev(tmp_path, "stop")


def test_a_server_in_the_background_answers_when_the_command_ends(detached: Path) -> None:
    """It says where, `wait ready` and a second `run --detach` say the same, and `stop` ends it.

    The file of another network in the folder is refused: one folder has one server.
    """
    started = json.loads(oa_dev(detached, "run", "--detach", "--port", "0", "--json").stdout)
    assert started["ready"] is True
    assert Path(started["log"]).read_text().splitlines()[0].startswith("{")
    ready = json.loads(oa_dev(detached, "wait", "ready", "--json").stdout)
    assert (ready["url"], ready["pid"]) == (started["url"], started["pid"])
    again = oa_dev(detached, "run", "--detach", "--json")
    told = json.loads(again.stdout)
    TypeAdapter(forms_of_answers.ReadyAnswer).validate_python(told)
    assert (again.returncode, told) == (0, {**ready, "already": True})
    (detached / "other.yaml").write_text(NETWORK)
    other = oa_dev(detached, "run", "--detach", "other.yaml")
    assert (other.returncode, "network.yaml runs in this folder already" in other.stderr) == (1, True)


def test_a_server_in_the_background_that_cannot_start_says_why(tmp_path: Path) -> None:
    """With the exit code that it has in the foreground."""
    write(tmp_path, "network: [\n")
    done = oa_dev(tmp_path, "run", "--detach")
    assert done.returncode == 3
    assert "network.yaml" in done.stderr


def test_wait_ready_without_a_server_ends_in_time(tmp_path: Path) -> None:
    """With 1, and as JSON too."""
    done = oa_dev(write(tmp_path), "wait", "ready", "--timeout", "0", "--json")
    assert (done.returncode, json.loads(done.stdout)["ready"]) == (1, False)


# JSON


def test_errors_are_json_on_standard_output_with_the_exit_code(tmp_path: Path) -> None:
    """Of a command without a server, of a bad option, of a payload that is not JSON."""
    for arguments, code in (
        (("status",), 1),
        (("run", "--port", "x"), 2),
        (("run",), 2),
        (("send", "echo.say", "--payload", "{"), 2),
    ):
        done = oa_dev(tmp_path, *arguments, "--json")
        told = json.loads(done.stdout.splitlines()[-1])
        TypeAdapter(forms.ErrorLine).validate_python(told)
        assert (done.returncode, told["type"], told["exit_code"]) == (code, "error", code), arguments


def test_the_trace_is_told_in_frames(server: Running) -> None:
    """The place, the function and the source of each; without an error it is null."""
    told = json.loads(oa_dev(server.folder, "trace", "--json").stdout)
    assert told == {"error": None, "trace": "", "frames": []}
    write(server.folder, echo=ECHO_V2 + "\n\ndef fall():\n    raise KeyError('gone')\n\n\nfall()\n")
    settled(server.folder)
    told = json.loads(oa_dev(server.folder, "trace", "--json").stdout)
    TypeAdapter(forms_of_answers.TraceAnswer).validate_python(told)
    assert told["error"]["kind"] == "KeyError"
    assert (told["frames"][-1]["function"], told["frames"][-1]["source"]) == ("fall", "raise KeyError('gone')")


def test_payloads_and_events_come_from_files_and_standard_input(server: Running) -> None:
    """`--payload @FILE` and `-`; `send -` sends one event for each line, and answers with a line for each."""
    folder = server.folder
    (folder / "payload.json").write_text('{"text": "from a file"}')
    assert "from a file" in oa_dev(folder, "send", "echo.say", "--payload", "@payload.json").stdout
    assert "cannot be read" in oa_dev(folder, "send", "echo.say", "--payload", "@missing").stderr
    lines = "".join(json.dumps({"event_name": "echo.say", "payload": {"text": str(n)}}) + "\n" for n in range(3))
    done = run(
        [*OA_DEV, "send", "-"], cwd=folder, env=environment(), input=lines, capture_output=True, text=True, timeout=20
    )
    assert [json.loads(each)["success"] for each in done.stdout.splitlines()] == [True] * 3
    (folder / "events.jsonl").write_text('{"payload": {}}\n')
    assert "line 1: " in oa_dev(folder, "send", "@events.jsonl").stderr


def test_what_new_writes_is_told_to_programs(tmp_path: Path) -> None:
    """The folder and its files, with a page for coding agents among them that names the loop."""
    told = json.loads(oa_dev(tmp_path, "new", "network", "demo", "--json").stdout)
    assert told["folder"] == str(tmp_path / "demo")
    text = (tmp_path / "demo" / "AGENTS.md").read_text()
    assert "AGENTS.md" in told["files"]
    assert "oa-dev settle --json" in text


# MCP


used: set[str] = set()


async def called(session: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answers; both sides of the session hold it to the schema that is listed for it."""
    used.add(tool)
    result = await session.call_tool(tool, arguments)
    assert not result.isError, result.content
    assert result.structuredContent is not None
    return result.structuredContent


async def test_an_agent_makes_writes_breaks_mends_and_asks_by_mcp(tmp_path: Path) -> None:
    """From an empty folder to an answer of a mod of its own, with nothing but tools and an editor."""
    # Half a second to import, which each process that collects the tests would pay.
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    server = StdioServerParameters(
        command=sys.executable, args=["-m", "devserver", "mcp"], cwd=tmp_path, env=environment()
    )
    async with stdio_client(server) as (read, write_to), ClientSession(read, write_to) as session:
        await session.initialize()
        listed = {each.name: each for each in (await session.list_tools()).tools}
        assert set(listed) == {each.name for each in tools()}
        assert all(each.description and each.inputSchema["type"] == "object" for each in listed.values())
        schemas = {name: each.outputSchema or {} for name, each in listed.items()}
        assert all(each.get("$defs") or each.get("properties") for each in schemas.values())

        folder = Path((await called(session, "new_network", folder="demo"))["folder"])
        assert "mods/kanban.py" in (await called(session, "new_mod", name="kanban"))["files"]
        file = folder / "network.yaml"
        file.write_text(file.read_text().rstrip() + "\n    - name: mods.kanban\n")
        assert (await called(session, "check"))["ok"] is True
        refusal = await session.call_tool("status", {})
        assert refusal.isError
        assert "no oa-dev is running" in refusal.content[0].text  # type: ignore[union-attr]

        await called(session, "run", port=0)
        try:
            names = [each["mod_id"] for each in (await called(session, "mods"))["mods"]]
            assert names == ["hello", "kanban"]

            mod = folder / "mods" / "kanban.py"
            good = mod.read_text()
            mod.write_text(good.replace("self.state", "self.sate"))
            await called(session, "settle")
            failed = await called(session, "send", event_name="kanban.greet", payload={"name": "Ana"})
            assert failed["success"] is False
            trace = await called(session, "trace")
            assert (trace["error"]["kind"], trace["error"]["file"]) == ("AttributeError", "mods/kanban.py")

            mod.write_text(good.replace("class Greet(", "class Greet(("))
            broken = await called(session, "settle")
            assert broken["runs"] is False
            assert broken["problems"][0]["error"]["kind"] == "SyntaxError"

            mod.write_text(good.replace('f"{', 'f"Well: {'))
            assert (await called(session, "settle"))["runs"] is True
            answer = await called(session, "send", event_name="kanban.greet", payload={"name": "Ana"})
            assert (answer["success"], answer["message"]) == (True, "Well: Hello, Ana")
            undone = await called(session, "undo")
            assert undone["outcomes"][0]["status"] == "applied"
            assert (await called(session, "settle"))["problems"][0]["kind"] == "differs"
            assert (await called(session, "redo"))["success"] is True
            assert (await called(session, "events", after=0))["events"][-1]["event_name"] == "kanban.greet"
            assert (await called(session, "reload", mods=["kanban"]))["outcomes"][0]["mod_id"] == "kanban"
            assert (await called(session, "restart"))["success"] is True
            assert (await called(session, "status"))["mods"][1]["file"] == "mods/kanban.py"
            assert used == set(listed) - {"stop"}
        finally:
            await called(session, "stop")


def test_without_the_package_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    """And nothing else of `oa-dev` needs it."""
    program = "import sys; sys.modules['mcp'] = None; from devserver.cli.start import call; sys.exit(call(['mcp']))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert "pip install 'oa-dev[mcp]'" in done.stderr
