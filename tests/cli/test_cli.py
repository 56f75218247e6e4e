"""The commands as processes: what they print, and their exit codes. No input makes a traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ECHO_BROKEN, ECHO_V1, ECHO_V2, NETWORK, OA_DEV, PATIENCE, Running, environment, oa_dev, write

import devserver
from devserver.cli.exits import Problem
from devserver.cli.locate import network_file

COMMANDS = (
    *("run", "check", "plan", "schema", "doctor", "status", "reload", "undo", "send", "events"),
    *("pause", "apply", "resume", "trace", "log", "stop", "wait", "new"),
)


def refused(folder: Path, *arguments: str | bytes) -> str:
    """The problem that a command ends with, in at most a line and a hint, with code 2."""
    done = oa_dev(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) <= 2
    return done.stderr


# Help, version, usage


def test_the_version_is_said(tmp_path: Path) -> None:
    """`--version` prints it and ends cleanly."""
    assert oa_dev(tmp_path, "--version").stdout == f"oa-dev {devserver.__version__}\n"


def test_help_and_version_need_nothing_heavy(tmp_path: Path) -> None:
    """Neither the web framework, nor the watcher, nor YAML is imported to explain the commands."""
    program = (
        "import sys; from devserver.cli.start import call; call(['run', '--help']); call(['--version']);"
        "print([name for name in ('httptools', 'websockets', 'watchfiles', 'yaml', 'rich') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Also no argument at all is answered with help."""
    done = oa_dev(tmp_path, *arguments)
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stats",), "status"),
        (("run", "--port", "-1"), "--port"),
        (("send",), "EVENT_NAME"),
        (("send", "Bad Name"), "not an event name"),
        (("send", "a.b"), "not an event name"),
        (("run", "two", "files"), "files"),
        (("run", "--", "a b.yaml"), "a b.yaml"),
        (("run", b"\xff\x1b[2J.yaml"), "\\udcff\\x1b[2J.yaml"),
        (("run", "nosuch.yaml"), "no file nosuch.yaml"),
        (("check", "a\nb"), "no file a\\nb"),
    ],
    ids=str,
)
def test_a_misuse_ends_with_2_and_says_what_was_meant(
    tmp_path: Path, arguments: tuple[str | bytes, ...], said: str
) -> None:
    """One line names the problem and one what helps, whatever was typed."""
    assert said in refused(tmp_path, *arguments)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com", "127.0.0.1.nip.io"])
def test_an_open_address_takes_two_wishes(tmp_path: Path, host: str) -> None:
    """The address alone is refused, with what to write where it is meant."""
    write(tmp_path)
    said = refused(tmp_path, "run", "--host", host)
    assert "other machines" in said and f"--host {host} --allow-host NAME" in said


@pytest.mark.parametrize(
    "name", ["*", "0.0.0.0", "0.0.0.0:80", "::", "[::]:80", "http://a", "a/b", "a..", "", "é", "a b"]
)
def test_a_name_that_no_request_can_have_is_not_allowed(tmp_path: Path, name: str) -> None:
    """No wildcard above all."""
    write(tmp_path)
    assert "others know this machine" in refused(tmp_path, "run", "--allow-host", name)


def test_an_address_that_is_not_ours_is_said(tmp_path: Path) -> None:
    """In a line, with code 1."""
    write(tmp_path)
    done = oa_dev(tmp_path, "run", "--host", "198.51.100.7", "--allow-host", "dev.test")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "cannot listen on 198.51.100.7" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--prot", "1"), "unknown option --prot. Did you mean --port?"),
        (("run", "--zzz"), "unknown option --zzz"),
        (("record",), "Missing argument 'start|stop'. Choose from: start, stop"),
        (("record", "now"), "Invalid value for 'start|stop': 'now' is not one of 'start', 'stop'."),
        (("send", "a.b", "{}"), "as in: oa-dev send EVENT_NAME --payload"),
        (("run", "--port", "70000"), "a port is a whole number from 0 to 65535, not '70000'"),
        (("run", "--port", "http"), "a port is a whole number from 0 to 65535, not 'http'"),
        (("run", "--log-level", "loud"), "a level is one of debug, info, warning, error, not 'loud'"),
        (("log", "loud"), "a level is one of debug, info, warning, error, not 'loud'"),
        (("wait", "reload", "--timeout", "soon"), "seconds are a number from 0 on, not 'soon'"),
        (("events", "-n", "-1"), "a whole number from 0 on, not '-1'"),
        (("new", "mod", "my mod"), "'my mod' is not a valid mod name"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_right(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """In the words of this tool, and with code 2."""
    write(tmp_path)
    assert said in refused(tmp_path, *arguments)


def test_no_line_of_the_help_is_cut_off(tmp_path: Path) -> None:
    """Each command is explained in the one line that it has."""
    assert "..." not in oa_dev(tmp_path, "--help", COLUMNS="80").stdout.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"a": 1,, }', "column 9"),
        ('{"a": 1}\n}', "line 2, column 1"),
        ("{'a': 1}", "column 2"),
        ("", "column 1"),
        ("[1]", "not a JSON object"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_a_bad_payload_is_refused_with_its_place(tmp_path: Path, payload: str, said: str) -> None:
    """Nothing is sent, and the column is named."""
    assert said in refused(tmp_path, "send", "echo.say", "--payload", payload)


# Which network


def test_without_a_network_the_folder_is_named(tmp_path: Path) -> None:
    """What was looked for, and where."""
    assert f"no network.yaml in {tmp_path}" in refused(tmp_path, "run")


def test_a_network_one_folder_down_is_named_and_not_taken(tmp_path: Path) -> None:
    """Who has just made one, and not changed into its folder, sees where it is."""
    write(tmp_path / "demo")
    assert "cd demo" in refused(tmp_path, "run")


def test_where_there_is_nothing_it_says_how_to_begin(tmp_path: Path) -> None:
    """With the command that makes a network."""
    assert "oa-dev new network" in refused(tmp_path, "run")


def test_a_network_further_up_is_taken_only_through_folders_of_this_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another user has put into a folder above is named, and not run."""
    write(tmp_path)
    below = tmp_path / "mods" / "echo"
    monkeypatch.chdir(below)
    assert network_file(None) == tmp_path / "network.yaml"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Problem) as refusal:
        network_file(None)
    assert "another user, name it: ../../network.yaml" in refusal.value.hint


def test_another_yaml_file_is_named(tmp_path: Path) -> None:
    """Who misspelt the name sees it."""
    (tmp_path / "netwrok.yaml").touch()
    assert "netwrok.yaml" in refused(tmp_path, "run")


# check


def test_a_good_network_is_summed_up(tmp_path: Path) -> None:
    """Exit code 0, and nothing of the mod was started."""
    write(tmp_path, echo=ECHO_V1 + "    def initialize(self):\n        open('started', 'w')\n")
    done = oa_dev(tmp_path, "check")
    assert (done.returncode, done.stdout) == (0, "network.yaml is good: team, 1 of 1 mods enabled\n")
    assert not (tmp_path / "started").exists()


def test_a_bad_network_ends_with_3_and_its_place(tmp_path: Path) -> None:
    """The line of the problem, and what was meant."""
    write(tmp_path, NETWORK.replace("name: mods", "nmae: mods"))
    done = oa_dev(tmp_path, "check")
    assert done.returncode == 3
    assert "network.yaml:4:" in done.stdout
    assert "'name'" in done.stdout


def test_a_bad_network_is_an_object_for_programs(tmp_path: Path) -> None:
    """`--json` gives every problem with its place."""
    write(tmp_path, NETWORK.replace("name: mods", "nmae: mods"))
    done = oa_dev(tmp_path, "check", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (3, False)
    assert {(each["file"], each["line"]) for each in answer["problems"]} == {("network.yaml", 4)}


def test_a_network_that_cannot_be_used_does_not_run(tmp_path: Path) -> None:
    """`run` ends with 3 as `check` does, before anything is bound."""
    write(tmp_path, "network: [\n")
    done = oa_dev(tmp_path, "run", "--json")
    assert done.returncode == 3
    assert [json.loads(line)["error"]["file"] for line in done.stdout.splitlines()] == ["network.yaml"]


# Commands without a server


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "--json"),
        ("reload",),
        ("undo",),
        ("send", "echo.say"),
        ("events", "-f"),
        ("pause",),
        ("apply",),
        ("resume",),
        ("trace",),
        ("log", "info"),
        ("stop",),
        ("wait", "reload"),
    ],
    ids=" ".join,
)
def test_without_a_server_a_command_ends_with_1_and_says_where_it_looked(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """The folder whose server is wanted is named."""
    done = oa_dev(tmp_path, *arguments)
    assert (done.returncode, "--json" in arguments) == (1, done.stdout != "")
    assert f"no oa-dev is running for {tmp_path}" in done.stderr


# Commands with a server


def test_status_shows_what_runs(server: Running) -> None:
    """Address, mods with generation and state, agents; for programs the whole answer."""
    answer = json.loads(oa_dev(server.folder, "status", "--json").stdout)
    done = oa_dev(server.folder, "status")
    head, mod, agents = done.stdout.splitlines()
    assert done.returncode == 0
    assert head.startswith(f"team  {answer['url']} - up ")
    assert (mod, agents) == ("  echo v1  mods.echo - mods/echo/mod.py - live", "  0 agents")


def test_reload_says_the_line_of_the_console(server: Running) -> None:
    """A reload by command is told as one by a save, and ends with 0."""
    done = oa_dev(server.folder, "reload", "echo")
    assert done.returncode == 0
    assert " reloaded: echo v2 " in done.stdout
    assert "0 agents, 0 dropped" in done.stdout
    assert server.until(type="outcome")["generation"] == 2


def test_a_reload_that_fails_ends_with_1_and_says_what_runs(server: Running) -> None:
    """The error has its place, and the generation that keeps running is named; status remembers the error."""
    write(server.folder, echo=ECHO_BROKEN)
    server.until(type="outcome", status="rolled_back")
    done = oa_dev(server.folder, "reload")
    assert done.returncode == 1
    assert "echo v2 did not load, v1 keeps running" in done.stdout
    assert "mods/echo/mod.py:3" in done.stdout
    assert "SyntaxError" in oa_dev(server.folder, "status").stdout


def test_reloading_a_mod_that_is_not_there_ends_with_1_and_a_hint(server: Running) -> None:
    """The name that may have been meant is in the answer."""
    done = oa_dev(server.folder, "reload", "ecco")
    assert done.returncode == 1
    assert done.stdout.startswith("ecco not reloaded: ")
    assert "echo" in done.stdout


def test_send_prints_the_answer_of_the_network(server: Running) -> None:
    """Message and data come back, from the code that was saved last."""
    write(server.folder, echo=ECHO_V2)
    server.until(type="outcome", status="applied")
    done = oa_dev(server.folder, "send", "echo.say", "--payload", '{"text": "hi\\u001b[2J"}')
    assert (done.returncode, done.stdout) == (0, 'said again\n{"text": "hi\\u001b[2J"}\n')


def test_an_answer_without_success_ends_with_1(server: Running) -> None:
    """What a handler raised is an answer, and a failure for a script."""
    done = oa_dev(server.folder, "send", "echo.say", "--payload", "{}", "--json")
    assert (done.returncode, json.loads(done.stdout)["success"]) == (1, False)


def test_ctrl_c_ends_a_server_with_0_and_its_run_file_is_gone(server: Running) -> None:
    """A clean end leaves nothing that commands could mistake for a server."""
    assert server.stop() == 0
    assert oa_dev(server.folder, "status").returncode == 1
    assert not (server.folder / ".oa-dev" / "run.json").exists()


def test_a_taken_port_ends_with_4_where_no_other_is_wanted(server: Running, tmp_path: Path) -> None:
    """`--strict-port` takes no other port, and nothing is started."""
    url = json.loads(oa_dev(server.folder, "status", "--json").stdout)["url"]
    folder = write(tmp_path / "other")
    done = oa_dev(folder, "run", "--json", "--strict-port", "--port", url.rpartition(":")[2])
    assert (done.returncode, json.loads(done.stdout)["type"]) == (4, "error")
    assert "in use" in done.stderr


# In a terminal


def read_until(descriptor: int, words: str, seen: str = "") -> str:
    """What a terminal shows until some words come."""
    while words not in seen:
        ready, _, _ = select.select([descriptor], [], [], PATIENCE)
        assert ready, f"waited for {words!r}, saw {seen!r}"
        seen += os.read(descriptor, 4096).decode()
    return seen


def test_in_a_terminal_keys_work_and_nothing_foreign_is_written(tmp_path: Path) -> None:
    """Help, a reload and the end by single keys; an event's hostile text comes out as visible text."""
    folder = write(tmp_path, echo=ECHO_V1.replace('"said"', 'event.payload["\x1b[2J"]'))
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [*OA_DEV, "run", "--port", "0"], cwd=folder, env=environment(TERM="xterm"), stdin=terminal, stdout=terminal
    ) as process:
        try:
            seen = read_until(screen, "press h for shortcuts")
            os.write(screen, b"h")
            seen += read_until(screen, "log level")
            os.write(screen, b"r")
            seen += read_until(screen, "echo v2")
            oa_dev(folder, "send", "echo.say")
            seen += read_until(screen, "\\x1b[2J")
            os.write(screen, b"q")
            seen += read_until(screen, "stopped")
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    os.close(terminal)
    os.close(screen)
    own = re.sub(r"\x1b\[[0-9;]*m|\r?\n", "", seen)
    assert [each for each in own if not each.isprintable()] == []
