"""The commands that ask a running server, as processes: what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from nursery import Popen
from processes import ECHO_BROKEN, ECHO_V2, NETWORK, OA_DEV, PATIENCE, Running, environment, oa_dev, write
from pydantic import TypeAdapter

from devserver.model import forms, forms_of_answers

SAY = ("send", "echo.say", "--payload", '{"text": "hi"}')


def answer(folder: Path, *arguments: str) -> dict[str, Any]:
    """What a command says as JSON."""
    told: dict[str, Any] = json.loads(oa_dev(folder, *arguments, "--json").stdout)
    return told


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command that goes on beside the test."""
    return Popen([*OA_DEV, *arguments], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)


# Pause


def test_saves_that_are_paused_wait_until_they_are_applied(server: Running) -> None:
    """A pause keeps what runs; `status` and `plan` name what waits; `apply` applies it, and it stays paused."""
    assert oa_dev(server.folder, "pause").stdout == "paused: saves wait\n"
    write(server.folder, echo=ECHO_V2)
    server.until(type="notice", message="mods/echo/mod.py saved; 1 save waits, oa-dev apply applies it")
    assert "paused: mods/echo/mod.py" in oa_dev(server.folder, "status").stdout
    assert "echo  reload - mods/echo/mod.py changed" in oa_dev(server.folder, "plan").stdout
    assert oa_dev(server.folder, *SAY).stdout.startswith("said\n")
    assert "echo v2" in oa_dev(server.folder, "apply").stdout
    assert oa_dev(server.folder, *SAY).stdout.startswith("said again\n")
    assert answer(server.folder, "status")["paused"] is True


def test_resume_applies_everything_that_waits_and_ends_the_pause(server: Running) -> None:
    """network.yaml and a mod, saved while paused, are applied by one command; later saves are applied at once."""
    oa_dev(server.folder, "pause")
    loud = NETWORK + "      config: {loud: true}\n"
    write(server.folder, loud)
    server.until(type="notice", message="network.yaml saved; 1 save waits, oa-dev apply applies it")
    write(server.folder, loud, ECHO_V2)
    server.until(type="notice", message="mods/echo/mod.py saved; 2 saves wait, oa-dev apply applies them")
    done = answer(server.folder, "resume")
    status = answer(server.folder, "status")
    assert [each["success"] for each in done["done"]] == [True, True]
    assert (status["paused"], status["waiting"]) == (False, [])
    assert (status["mods"][0]["config"], oa_dev(server.folder, *SAY).stdout[:10]) == ({"loud": True}, "said again")


def test_apply_without_a_save_says_so(server: Running) -> None:
    """Nothing is done, and that is no failure."""
    done = oa_dev(server.folder, "apply")
    assert (done.returncode, done.stdout) == (0, "nothing waited\n")


def test_what_waited_and_fails_ends_with_1(server: Running) -> None:
    """A script learns that what it applied did not come to run."""
    oa_dev(server.folder, "pause")
    write(server.folder, echo=ECHO_BROKEN)
    server.until(type="notice", message="mods/echo/mod.py saved; 1 save waits, oa-dev apply applies it")
    done = oa_dev(server.folder, "apply")
    assert done.returncode == 1
    assert "echo v2 did not load, v1 keeps running" in done.stdout


# wait


def test_wait_reload_ends_with_the_outcome_of_the_next_plan(server: Running) -> None:
    """0 and the line of the console where it was applied, 1 and the error where it failed."""
    number = str(answer(server.folder, "status")["reload_number"])
    write(server.folder, echo=ECHO_V2)
    good = oa_dev(server.folder, "wait", "reload", "--after", number)
    write(server.folder, echo=ECHO_BROKEN)
    bad = oa_dev(server.folder, "wait", "reload", "--after", str(int(number) + 1))
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "reloaded: echo v2" in good.stdout
    assert "mods/echo/mod.py:3" in bad.stdout


def test_wait_reload_waits_for_what_has_not_happened_yet(server: Running) -> None:
    """Begun before the save, it ends with it."""
    with begun(server.folder, "wait", "reload", "--json", "--timeout", str(PATIENCE)) as waiting:
        while waiting.poll() is None:
            # Until it ends: when its waiting begins, no one but itself knows.
            oa_dev(server.folder, "reload")
        assert waiting.stdout is not None
        told = json.loads(waiting.stdout.read())
    assert (waiting.returncode, told["success"]) == (0, True)
    assert told["outcomes"][0]["mod_id"] == "echo"


def test_a_network_yaml_that_is_refused_is_an_outcome(server: Running) -> None:
    """`wait reload` ends with 1 and the place in network.yaml."""
    number = str(answer(server.folder, "status")["reload_number"])
    (server.folder / "network.yaml").write_text(NETWORK.replace("name: mods", "nmae: mods"))
    done = oa_dev(server.folder, "wait", "reload", "--after", number)
    assert done.returncode == 1
    assert "network.yaml:4:" in done.stdout


def test_wait_reload_gives_up_in_time(server: Running) -> None:
    """It ends with 1 and says that nothing came."""
    done = oa_dev(server.folder, "wait", "reload", "--timeout", "0.05")
    assert (done.returncode, done.stdout) == (1, "no reload within 0.05 s\n")


# events


def test_events_are_followed_by_pattern(server: Running) -> None:
    """Who follows `echo.*` sees those events with their answers, and no others."""
    with begun(server.folder, "events", "-f", "echo.*", "--count", "2", "--json") as following:
        assert following.stdout is not None
        lines: list[str] = []
        while len(lines) < 2 and following.poll() is None:
            # Sent until it is seen: when following begins, no one but the follower knows.
            oa_dev(server.folder, "send", "other.thing")
            oa_dev(server.folder, *SAY)
            lines += [following.stdout.readline()] if not lines else following.stdout.readlines()
    rows = [json.loads(each) for each in lines]
    assert {row["event_name"] for row in rows} == {"echo.say"}
    assert rows[0]["payload"] == {"text": "hi"}
    assert (rows[0]["success"], rows[0]["message"]) == (True, "said")
    assert following.returncode == 0


def test_a_pattern_that_matches_nothing_is_a_misuse(tmp_path: Path) -> None:
    """It ends with 2 before any server is asked."""
    done = oa_dev(tmp_path, "events", "*.say")
    assert (done.returncode, "may only stand at the end" in done.stderr) == (2, True)


# The rest


def test_plan_says_that_nothing_would_change(server: Running) -> None:
    """What runs is what is saved."""
    done = oa_dev(server.folder, "plan")
    assert (done.returncode, done.stdout) == (0, "nothing would change\n")


def test_plan_shows_a_save_that_failed_and_changes_nothing(server: Running) -> None:
    """What is on disk and not running would still be reloaded; asking does not do it."""
    write(server.folder, echo=ECHO_BROKEN)
    server.until(type="outcome", status="rolled_back")
    before = answer(server.folder, "status")
    plans = answer(server.folder, "plan")["plans"]
    after = answer(server.folder, "status")
    assert [step["mod_id"] for each in plans for step in each["steps"]] == ["echo"]
    assert (before["failed"], before["mods"]) == (after["failed"], after["mods"])


def test_the_trace_of_the_latest_error_is_printed_in_full(server: Running) -> None:
    """And that there is none, when there is none."""
    assert oa_dev(server.folder, "trace").stdout == "no error\n"
    write(server.folder, echo=ECHO_V2 + "\n{}['column']\n")
    server.until(type="outcome", status="rolled_back")
    printed = oa_dev(server.folder, "trace").stdout
    assert printed.startswith("Traceback")
    assert printed.endswith("KeyError: 'column'\n")


def test_the_log_level_changes_while_it_runs(server: Running) -> None:
    """The new level is said, and an unknown one is a misuse."""
    assert oa_dev(server.folder, "log", "debug").stdout == "log level: debug\n"
    assert oa_dev(server.folder, "log", "loud").returncode == 2


def test_stop_ends_the_server_cleanly(server: Running) -> None:
    """As Ctrl-C does."""
    assert oa_dev(server.folder, "stop").stdout == "stopping\n"
    server.until(type="stopped")
    assert server.process.wait() == 0


def test_a_changed_env_file_is_brought_by_a_restart_in_place(tmp_path: Path) -> None:
    """What .env says is in the environment of mods: changed, the process replaces itself, and its address stays."""
    write(tmp_path, echo=ECHO_V2.replace('"said again"', '__import__("os").environ["SECRET_WORD"]'))
    (tmp_path / ".env").write_text("SECRET_WORD=xyzzy\n")
    running = Running(tmp_path)
    try:
        url = running.until(type="ready")["url"]
        assert oa_dev(tmp_path, *SAY).stdout.startswith("xyzzy\n")
        (tmp_path / ".env").write_text("SECRET_WORD=plugh\n")
        told = running.until(type="restart")
        assert (told["url"], told["reasons"]) == (url, [".env changed, which is read at the start"])
        assert oa_dev(tmp_path, *SAY).stdout.startswith("plugh\n")
        assert running.stop() == 0
    finally:
        running.end()


def test_with_confirm_a_changed_network_waits_and_is_shown(tmp_path: Path) -> None:
    """The plan comes at once, its effect with `apply`; a mod's own save is applied without asking."""
    running = Running(write(tmp_path), "--confirm")
    try:
        running.until(type="ready")
        (tmp_path / "network.yaml").write_text(NETWORK + "      config: {loud: true}\n")
        plan = running.until(type="plan")
        assert plan["cause"] == "network.yaml, not applied yet"
        assert [step["mod_id"] for step in plan["steps"]] == ["echo"]
        assert answer(tmp_path, "status")["mods"][0]["config"] == {}
        assert answer(tmp_path, "apply")["done"][0]["success"] is True
        assert answer(tmp_path, "status")["mods"][0]["config"] == {"loud": True}
    finally:
        running.end()


def test_what_a_mod_prints_goes_to_the_log_with_its_name(tmp_path: Path) -> None:
    """Standard output stays JSON lines; printed and logged lines are JSON on the other stream, none is lost."""
    noise = 'print("one\\ntwo", end=""); self.log.warning("three"); '
    noisy = ECHO_V2.replace("return", noise + "return")
    errors = tmp_path / "errors"
    with errors.open("wb") as stream:
        running = Running(write(tmp_path / "work", echo=noisy), errors=stream)
        try:
            running.until(type="ready")
            oa_dev(running.folder, *SAY)
            assert running.stop() == 0
        finally:
            running.end()
    rows = [json.loads(line) for line in errors.read_text().splitlines()]
    assert [(row["who"], row["level"], row["message"]) for row in rows] == [
        ("echo v1", "print", "one"),
        ("echo v1", "warning", "three"),
        ("echo v1", "print", "two"),
    ]


@pytest.mark.parametrize("command", ["pause", "apply", "resume"])
def test_the_saves_commands_speak_json(server: Running, command: str) -> None:
    """Whether it is paused, what waits, and what was done."""
    assert answer(server.folder, command) == {"paused": command == "pause", "waiting": [], "done": []}


# --json

PRINTED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("wait reload", ("wait", "reload", "--after", "0")),
    ("wait reload", ("wait", "reload", "--timeout", "0")),
    ("send", SAY),
    ("open", ("open", "--print")),
    ("new", ("new", "mod", "extra")),
    ("log", ("log", "info")),
    ("load", ("load", "mods.echo")),
    ("unload", ("unload", "echo")),
    ("load", ("load", "mods.echo")),
    ("why", ("why", "echo")),
    ("why", ("why", "ana", "echo")),
    ("why", ("why", "pydantic")),
    ("record", ("record", "start")),
    ("record", ("record", "stop")),
    ("pin", ("pin", "--event", "echo.say", "--payload", '{"text": "hi"}', "--name", "hi")),
    ("pins", ("pins",)),
    ("pins show", ("pins", "show", "hi")),
    ("pins accept", ("pins", "accept", "hi")),
    ("pins ignore", ("pins", "ignore", "hi", "answer.message")),
    ("replay", ("replay", "hi")),
    ("test", ("test", "hi")),
    ("pins remove", ("pins", "remove", "hi")),
    ("try", ("try", "echo", "--shadow")),
    ("compare", ("compare", "echo")),
    ("why", ("why", "ana", "echo")),
    ("status", ("status",)),
    ("split", ("split", "echo@next", "20%")),
    ("drop", ("drop", "echo@next")),
    ("search", ("search", "poll")),
    ("show", ("show", "polls")),
    ("show", ("show", "polls", "--source")),
    ("asked", ("asked",)),
    ("index", ("index", ".")),
    *((name, tuple(name.split())) for name in ("status", "plan", "check", "doctor", "reload", "undo", "redo")),
    *((name, tuple(name.split())) for name in ("events --list", "pause", "apply", "resume", "settle", "trace")),
    *((name, tuple(name.split())) for name in ("contract", "wait ready", "restart", "stop")),
)
"""What is asked of one server, in this order; the last one ends it."""

ELSEWHERE = {"events", "run --detach", "promote", "add", "update", "remove", "sync", "pack", "publish"}
ELSEWHERE |= {"hosts", "move"}
"""`events` goes on for ever, another server runs here already, and what is about packages needs an index, what is about
hosts several of them (test_doors_of_processes)."""


def closed(schema: Any) -> Any:
    """A schema that also refuses every key that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    own = {key: closed(each) for key, each in schema.items()}
    return {"additionalProperties": False, **own} if "properties" in schema and "type" in schema else own


def test_what_commands_print_is_what_the_schema_says(server: Running) -> None:
    """Every command prints what `oa-dev schema events` describes, and no key besides."""
    write(server.folder, echo=ECHO_V2)
    server.until(type="outcome", status="applied", action="reload")
    whole = closed(forms_of_answers.json_schema())
    assert {name for name, _ in PRINTED} | ELSEWHERE == set(whole["commands"])
    assert whole["log"] == {"$ref": "#/$defs/LogLine"}
    found = []
    for name, arguments in PRINTED:
        told = answer(server.folder, *arguments)
        checked = jsonschema.Draft202012Validator({"$defs": whole["$defs"], **whole["commands"][name]})
        found += [f"{name}: {problem.json_path}: {problem.message[:300]}" for problem in checked.iter_errors(told)]
    assert found == [], "\n".join(found)


def test_every_command_that_prints_json_has_a_schema() -> None:
    """A command whose output is described nowhere is found here."""
    from typer.main import get_command

    from devserver.cli.app import app

    def named(command: Any, before: str = "") -> list[str]:
        inner = getattr(command, "commands", None)
        if inner is not None:
            return [name for each, one in inner.items() for name in named(one, f"{before}{each} ")]
        return [before.strip()] if any("--json" in each.opts for each in command.params) else []

    described = [each.split() for each in ("run --json", "join --json", *forms_of_answers.ANSWERS)]
    for words in map(str.split, named(get_command(app))):
        assert any(each[: len(words)] == words or words[: len(each)] == each for each in described), words


# Load and unload


def test_a_mod_is_unloaded_and_loaded_by_command(server: Running) -> None:
    """network.yaml stays as it was; the configuration is given as JSON."""
    assert "echo" in oa_dev(server.folder, "unload", "echo").stdout
    assert answer(server.folder, "status")["mods"] == []
    done = answer(server.folder, "load", "mods.echo", "--config", '{"loud": true}')
    (outcome,) = done["outcomes"]
    assert (outcome["action"], outcome["status"], outcome["generation"]) == ("load", "applied", 2)
    assert answer(server.folder, "status")["mods"][0]["config"] == {"loud": True}


def test_a_load_that_cannot_be_says_why_and_ends_with_one(server: Running) -> None:
    """The control API obeys the allow list; a configuration that is no object is refused before anything is asked."""
    done = oa_dev(server.folder, "load", "other.mod")
    assert (done.returncode, "is not on the list of what may be loaded" in done.stdout + done.stderr) == (1, True)
    done = oa_dev(server.folder, "load", "mods.echo", "--config", "[1]")
    assert (done.returncode, "the configuration is not a JSON object" in done.stderr) == (2, True)


def test_a_command_that_cannot_tells_programs_why(tmp_path: Path) -> None:
    """On stdout, in the form of all errors, with the exit code; people read it on stderr."""
    done = oa_dev(tmp_path, "status", "--json")
    told = json.loads(done.stdout)
    TypeAdapter(forms.ErrorLine).validate_python(told)
    assert (told["type"], told["error"]["kind"], told["exit_code"]) == ("error", "NotRunning", done.returncode)
    assert told["error"]["message"] in done.stderr


# Needs

MOD = """from devserver import BaseMod


class {title}Mod(BaseMod):
    version = "1.1"
    requires = {needs!r}
"""


def needing(folder: Path, name: str, *needs: str) -> None:
    """Write the mod `mods.<name>`."""
    (folder / "mods" / name).mkdir(parents=True, exist_ok=True)
    (folder / "mods" / name / "mod.py").write_text(MOD.format(title=name.title(), needs=list(needs)))


def test_why_an_unload_is_refused_cascades_and_takes_along_what_came(server: Running) -> None:
    """One command after the other, as a person asks."""
    needing(server.folder, "text")
    needing(server.folder, "board", "mods.text>=1.1")
    assert "+ text  load - needed by board (mods.text>=1.1)" in oa_dev(server.folder, "load", "mods.board").stdout
    why = oa_dev(server.folder, "why", "text").stdout
    assert why == (
        "text v1 - mods.text 1.1 - loaded automatically\n"
        "  needed by board (mods.text>=1.1, mods/board/mod.py:6), loaded by hand\n"
        "  goes when board goes\n"
    )
    found = answer(server.folder, "why", "text")
    TypeAdapter(forms_of_answers.ANSWERS["why"]).validate_python(found, strict=True)
    assert (found["came"], found["goes_with"]) == ("automatic", ["board"])
    refused = oa_dev(server.folder, "unload", "text")
    assert refused.returncode == 1
    assert "text not unloaded: board needs it; text v1 keeps running" in refused.stdout
    assert "--cascade unloads them too (board, then text); --force leaves them without it" in refused.stdout
    cascade = oa_dev(server.folder, "unload", "text", "--cascade").stdout
    assert "- board  unload - needs text" in cascade
    assert "- board, text unloaded" in cascade
    oa_dev(server.folder, "load", "mods.board")
    gone = answer(server.folder, "unload", "board")
    TypeAdapter(forms_of_answers.ANSWERS["unload"]).validate_python(gone)
    assert [each["reason"] for each in gone["then"]["steps"]] == ["came with board"]
    unknown = oa_dev(server.folder, "why", "nowhere")
    assert (unknown.returncode, unknown.stdout) == (1, "mod 'nowhere' is not loaded. Loaded: echo.\n")


def test_why_of_a_package_names_what_needs_it(server: Running) -> None:
    """Also the server itself."""
    found = answer(server.folder, "why", "pydantic")
    TypeAdapter(forms_of_answers.ANSWERS["why"]).validate_python(found, strict=True)
    assert (found["kind"], found["imported"] == found["version"]) == ("package", True)
    assert "oa-dev" in [each["name"] for each in found["needed_by_packages"]]
