"""The arguments of a plain `run` mean the same whether a parser reads them or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import environment, write

from devserver.cli import app, installing, serve
from devserver.cli.changing import MARKET, market_arguments, may_be_handed_over
from devserver.cli.exits import Exit
from devserver.cli.quick import SWITCHES, run_arguments
from devserver.cli.start import call

READ = [
    ["run"],
    ["run", "--json"],
    ["run", "--port", "0", "--json"],
    ["run", "other.yaml", "--port", "65535"],
    *(["run", switch] for switch in SWITCHES),
    ["run", "--log-level", "WARNING", "--log-format", "json"],
    ["run", "--keys", "--no-keys"],
]
NOT_READ = [
    [],
    ["check"],
    ["run", "--help"],
    ["run", "--port"],
    ["run", "--port", "abc"],
    ["run", "--port", "70000"],
    ["run", "--port", "٣"],
    ["run", "--log-level", "loud"],
    ["run", "--port=1"],
    ["run", "--host", "::1"],
    ["run", "two.yaml", "files.yaml"],
    ["run", "folder"],
    ["run", "--", "a.yaml"],
    ["run", "-x.yaml"],
]

READ_OF_MARKET = [
    ["sync"],
    ["update"],
    ["add", "polls", "../wiki", "--yes"],
    ["remove", "polls", "wiki@2", "-y", "--offline"],
    *([command, *(["polls"] if command != "sync" else []), switch] for command in MARKET for switch in MARKET[command]),
]
NOT_READ_OF_MARKET = [
    [],
    ["run"],
    ["add"],
    ["add", "--yes"],
    ["remove", "--json"],
    ["sync", "polls"],
    ["sync", "--vendor"],
    ["add", "polls", "--beside", "wiki"],
    ["add", "polls", "--", "--yes"],
    ["update", "--try"],
    ["update", "-yy"],
    ["add", "polls", "--help"],
    ["remove", ""],
]


@pytest.mark.parametrize("arguments", READ, ids=" ".join)
def test_what_is_read_quickly_is_what_the_parser_reads(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """File, settings and format are the same."""
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(serve, "run", lambda path, flags, *, as_json, **_: seen.append((path, flags, as_json)) or 0)
    app.parsed(arguments)
    assert run_arguments(arguments) == seen[0]


@pytest.mark.parametrize("arguments", NOT_READ, ids=" ".join)
def test_what_could_be_misunderstood_is_left_to_the_parser(arguments: list[str]) -> None:
    """Help, mistakes, and everything that is spelled in another way."""
    assert run_arguments(arguments) is None


def test_commands_of_the_market_mean_the_same_without_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, choices and options are the same, for each switch; everything else is left to the parser."""
    seen: list[tuple[Any, ...]] = []

    def noted(command: str) -> Any:
        return lambda *given, **more: seen.append((command, *given, {k: v for k, v in more.items() if v})) or 0

    for command in MARKET:
        monkeypatch.setattr(installing, command, noted(command))
    for arguments in READ_OF_MARKET:
        seen.clear()
        app.parsed(arguments)
        read = market_arguments(arguments)
        assert read is not None, arguments
        installing.called(*read)
        assert seen[1] == seen[0], arguments

    def unanswered(*_: Any) -> int:
        raise EOFError

    monkeypatch.setattr(installing, "add", unanswered)
    assert [call(["add", "polls", *more]) for more in ([], ["--vendor"])] == [Exit.INTERRUPTED, Exit.USAGE]
    assert [each for each in NOT_READ_OF_MARKET if market_arguments(each) is not None] == []


def test_a_plain_run_imports_no_parser_and_no_logger(tmp_path: Path) -> None:
    """Nor what only a .gitignore, or a system without inotify, needs; pydantic reads the file."""
    write(tmp_path)
    program = (
        "import sys; import devserver.server.server as server\n"
        "def ready(options, face):\n"
        "    unwanted = {'typer', 'rich', 'structlog', 'pathspec', 'watchfiles', 'multiprocessing'}\n"
        "    sys.__stdout__.write(repr(sorted(unwanted & set(sys.modules))))\n"
        "    return 0\n"
        "server.run_server = ready\n"
        "from devserver.cli.start import call; sys.exit(call(['run', '--no-keys']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "[]")


def test_a_supervisor_imports_nothing_of_what_it_supervises() -> None:
    """A person waits for both: neither asyncio nor any part of the network is imported before the server starts."""
    program = (
        "import sys, devserver.cli.serve, devserver.server.supervisor;"
        "unwanted = ('asyncio', 'logging.handlers', 'devserver.mod', 'devserver.live.registry',"
        " 'devserver.ui.console');"
        "print([name for name in unwanted if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "handed"),
    [
        ("add polls --yes", True),
        ("update -y --json", True),
        ("remove polls", True),
        ("add polls", False),
        ("sync", False),
        ("add git+ssh://host/polls --yes", False),
        ("add ../polls --build --yes", False),
        ("add polls --beside polls --yes", False),
        ("status --yes", False),
    ],
)
def test_what_asks_nothing_may_be_carried_out_in_another_process(arguments: str, handed: bool) -> None:
    """Not what a person answers, not what may ask for a password, nor what needs the parser."""
    assert may_be_handed_over(arguments.split()) is handed


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [("changing, devserver.server.hand_over", ["devserver.cli.start", "devserver.errors", "socket", "http.client"]),
     ("remote", ["pydantic", "yaml"]), ("installing", ["typer", "asyncio", "importlib.metadata", "devserver.mod",
                                                       "devserver.loader.build", "devserver.model.facts"])],
)  # fmt: skip
def test_a_command_imports_little_before_its_work(command: str, unwanted: list[str]) -> None:
    """What a question to a server, or a change from elsewhere, does not need would take longer than they do."""
    program = f"import sys, devserver.cli.{command}; print([each for each in {unwanted} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n"
