"""The arguments of a plain `run` mean the same whether a parser reads them or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import environment, write

from devserver.cli import app, serve
from devserver.cli.quick import SWITCHES, run_arguments

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


def test_what_asks_a_server_imports_no_validator() -> None:
    """Forms are dictionaries: to import pydantic would take longer than the question and its answer."""
    program = "import sys, devserver.cli.remote; print('pydantic' in sys.modules, 'yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert done.stdout == "False False\n"
