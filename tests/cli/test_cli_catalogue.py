"""`search`, `show`, `pack`, `publish`, `index` and `new mod --package`, as processes."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import environment, oa_dev, write
from wheels import MOD, wheel, wheel_file

from devserver.market.wheel import sources_of

POLLS = sources_of("polls") / "src/polls"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A workspace with an index of its own."""
    write(tmp_path, "network:\n  name: team\n  mods:\n    - name: mods.echo\ndev:\n  indexes: [mods-index]\n")
    (tmp_path / "mods-index").mkdir()
    return tmp_path


def put(work: Path, name: str = "extras", version: str = "1.0", **facts: object) -> None:
    """Put a wheel into the index of a workspace."""
    (work / "mods-index" / wheel_file(name, version)).write_bytes(wheel(name, version, **facts))  # type: ignore[arg-type]


# search, show


def test_what_can_be_had_is_found_without_a_network_and_offline(tmp_path):
    """A fresh machine has what is built in."""
    done = oa_dev(tmp_path, "search", "poll")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["polls", "1.0.0"], ["poll-report", "0.2.1"]]
    assert lines[2].startswith("2 of 4 mods · built in (")


def test_search_tells_programs_the_same(work):
    """With the catalogue of each, and what could not be read."""
    put(work, headers="Summary: Tags\n")
    found = json.loads(oa_dev(work, "search", "tags", "--json").stdout)
    assert found["mods"] == [
        {
            "name": "extras", "version": "1.0", "summary": "Tags", "catalogue": "mods-index", "mods": ["extras"],
            "blocked": None, "replaced_by": None,
        }
    ]  # fmt: skip
    assert (found["of"], found["catalogues"], found["problems"]) == (5, ["mods-index", "built in"], [])


def test_show_says_what_a_mod_does_before_anything_of_it_has_run(work):
    """Read from the wheel itself."""
    source = "import urllib.request\nraise SystemExit('it ran')\n" + MOD
    put(work, files={"extras/__init__.py": "raise SystemExit('it ran')", "extras/mod.py": source}, requires=["idna>=3"])
    done = oa_dev(work, "show", "extras")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:5] == [
        "extras 1.0 · mods-index",
        "  mods      extras",
        "  answers   extras.ask",
        "  needs     idna>=3",
        "  touches   network: urllib.request (extras/mod.py:1)   read from its source; nothing of it has run",
    ]
    assert "import urllib.request" in oa_dev(work, "show", "extras", "--source").stdout


def test_show_says_what_an_update_newly_does(work):
    """Against the version before, or against the one that is locked."""
    put(work)
    put(work, version="2.0", files={"extras/mod.py": "import socket\n" + MOD.replace("extras.ask", "extras.tell")})
    told = json.loads(oa_dev(work, "show", "extras", "--diff", "--json").stdout)
    assert (told["from"], told["to"]) == ("1.0", "2.0")
    assert (told["new_answers"], told["gone_answers"]) == (["extras.tell"], ["extras.ask"])
    assert told["new_touches"] == {"network": ["socket (extras/mod.py:1)"]}
    text = oa_dev(work, "show", "extras", "--diff").stdout
    assert "  touches   + network: socket (extras/mod.py:1)\n" in text
    assert "+import socket\n" in text


def test_a_name_that_no_catalogue_has_is_refused_with_the_one_that_was_meant(work):
    """And nothing of any other place is taken."""
    put(work, "wiki-extras")
    done = oa_dev(work, "show", "wiki-extrs")
    assert done.returncode == 1
    assert "there is no wiki-extrs in mods-index, the built-in mods. Did you mean wiki-extras?" in done.stderr


def test_a_file_that_was_swapped_in_an_index_is_said(work):
    """What is listed and what is there are compared before anything else is said of it."""
    put(work)
    assert oa_dev(work, "index", "mods-index").returncode == 0
    put(work, headers="Summary: other\n")
    done = oa_dev(work, "show", "extras")
    assert done.returncode == 1
    assert "extras 1.0 is not what mods-index lists: sha256" in done.stderr


def test_no_text_of_a_stranger_reaches_a_terminal_unescaped(work):
    """Control characters, colours, direction overrides: spelled out in every line that is printed."""
    evil = "\x1b[31mred\x07\u202eback\u200b"
    source = f"import socket\n{MOD.replace('extras.ask', evil)}"
    put(work, files={"extras/mod.py": source, f"extras/{evil.replace('/', '')}.py": "import os\nos.environ"})
    put(work, version="2.0", files={"extras/mod.py": source + f"# {evil}\n", "extras/x.py": ""})
    oa_dev(work, "index", "mods-index")
    values = json.loads((work / "mods-index/index.json").read_text())
    entry = values["mods"]["extras"]
    entry |= {"summary": evil, "license": evil, "homepage": evil, "keywords": [evil], "blocked": evil}
    entry["releases"]["1.0"] |= {"yanked": evil, "made": evil}
    (work / "mods-index/index.json").write_text(json.dumps(values))
    for arguments in (
        ("search", "red"), ("search",), ("show", "extras"), ("show", "extras==1.0"), ("show", evil), ("search", evil),
        ("show", "extras==2.0", "--source"), ("show", "extras==2.0", "--diff"), ("search", "--json"),
        ("show", "extras==2.0", "--json"),
    ):  # fmt: skip
        done = oa_dev(work, *arguments)
        for text in (done.stdout, done.stderr):
            assert not {each for each in text if not each.isprintable()} - {"\n"}, arguments


# pack


def polls_in(work: Path) -> Path:
    """The mod polls as a folder of the workspace."""
    shutil.copytree(POLLS, work / "mods/polls", ignore=shutil.ignore_patterns("__pycache__"))
    return work / "mods/polls"


def test_a_folder_of_the_workspace_becomes_a_wheel(work):
    """Its project is written from what it declares, shown and kept; it is the top package polls."""
    polls_in(work)
    done = oa_dev(work, "pack", "mods/polls")
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'dependencies = ["oa-dev>=0.2"]' in done.stdout
    assert done.stdout.splitlines()[-1] == "  checked: it imports, 5 handlers, every package it imports is declared"
    assert 'version = "1.0.0"' in (work / "mods/polls/pyproject.toml").read_text()
    with zipfile.ZipFile(work / "dist/polls-1.0.0-py3-none-any.whl") as archive:
        assert {each.split("/")[0] for each in archive.namelist()} == {"polls", "polls-1.0.0.dist-info"}


def test_a_wheel_has_the_same_bytes_every_time(work):
    """Also from a copy that was made later, with the project that was written."""
    polls_in(work)
    oa_dev(work, "pack", "mods/polls", "--to", "a")
    shutil.copytree(work / "mods/polls", work / "elsewhere/polls")
    oa_dev(work, "pack", "elsewhere/polls", "--to", "b")
    one, other = (next((work / each).glob("*.whl")).read_bytes() for each in "ab")
    assert hashlib.sha256(one).hexdigest() == hashlib.sha256(other).hexdigest()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("from mods.polls import mod", "imports mods.polls.mod, which is polls in the package: from . import mod"),
        ("import mods.lib.text", "imports mods.lib.text, which is not part of the package: move it into polls"),
        ("import idna", "imports idna, which is not declared: add idna to its dependencies"),
        ("import yaml", "imports yaml, which is not declared: add pyyaml to its dependencies"),
    ],
)  # fmt: skip
def test_what_no_package_can_import_is_an_error_with_its_line(work, line, problem):
    """There is no wheel then."""
    polls = polls_in(work)
    (polls / "more.py").write_text(f'"""More."""\n\n{line}\n')
    done = oa_dev(work, "pack", "mods/polls")
    assert done.returncode == 5
    assert f"  polls/more.py:3 {problem}\n" in done.stdout
    assert not (work / "dist").exists()


def test_imports_that_it_can_do_without_are_left_alone(work):
    """Under TYPE_CHECKING, and where their failure is caught."""
    polls = polls_in(work)
    typing = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\n"
    (polls / "more.py").write_text(f"{typing}try:\n    import idna\nexcept ImportError:\n    pass\n")
    assert oa_dev(work, "pack", "mods/polls").returncode == 0


def test_a_mod_that_does_not_come_up_is_not_packed(work):
    """With the line at which it fails."""
    polls = polls_in(work)
    with open(polls / "mod.py", "a") as file:
        file.write("\n1 / 0\n")
    done = json.loads(oa_dev(work, "pack", "mods/polls", "--json").stdout)
    lines = len((polls / "mod.py").read_text().splitlines())
    assert done["success"] is False
    assert done["problems"] == [
        f"polls cannot be imported: ZeroDivisionError: division by zero at polls/mod.py:{lines}"
    ]


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("mods/nowhere", "there is no folder"),
        ("mods/one.py", "one.py is one file"),
        ("mods/echo", "echo/mod.py says no version"),
        ("mods/json", "json cannot name a package"),
        ("mods/empty", "empty has no pyproject.toml and is not a mod"),
    ],
)
def test_what_cannot_be_packed_is_said_in_a_sentence(work, folder, words):
    """With what to do."""
    (work / "mods/one.py").write_text(MOD)
    for name in ("json", "empty"):
        (work / "mods" / name).mkdir()
    (work / "mods/json/mod.py").write_text(MOD.replace('"""Answers one event."""', 'version = "1.0"'))
    done = oa_dev(work, "pack", folder)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_build_of_others_is_run_only_where_it_is_asked_for(work):
    """It is code that would run here."""
    project = work / "strange"
    project.mkdir()
    (project / "pyproject.toml").write_text('[build-system]\nrequires = ["x"]\nbuild-backend = "evil.build"\n')
    done = oa_dev(work, "pack", "strange")
    assert done.returncode == 2
    assert "strange is built by evil.build, which is code that would run" in done.stderr
    assert "--build runs it" in done.stderr


def test_a_new_package_is_packed_and_published_at_once(tmp_path):
    """`new mod NAME --package`, `pack`, `publish`, `show`."""
    write(tmp_path, "network:\n  name: t\n  mods: []\ndev:\n  indexes: [team]\n")
    assert oa_dev(tmp_path, "new", "mod", "kan-ban", "--package").returncode == 0
    packed = oa_dev(tmp_path, "pack", "kan-ban")
    assert packed.stdout.startswith("dist/kan_ban-0.1.0-py3-none-any.whl   sha256 ")
    done = oa_dev(tmp_path, "publish", "dist/kan_ban-0.1.0-py3-none-any.whl", "--to", "team")
    assert done.stdout == "team/index.json + kan-ban 0.1.0 (1 mod)\n"
    assert "kan_ban.greet" in oa_dev(tmp_path, "show", "kan-ban").stdout
    again = oa_dev(tmp_path, "new", "mod", "kan-ban", "--package")
    assert (again.returncode, "nothing was written" in again.stderr) == (2, True)


# publish, index


def test_an_index_says_what_it_left_out(work):
    """And ends with 1, so that a pipeline sees it."""
    put(work)
    put(work, "board", mods=[], files={"board.py": ""})
    done = oa_dev(work, "index", "mods-index")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "mods-index/index.json: 1 mod, 1 release"
    assert "left out board-1.0-py3-none-any.whl: it is not a mod" in done.stdout


@pytest.fixture
def pypi(tmp_path: Path) -> Iterator[str]:
    """A real index on this machine, which takes uploads from anyone."""
    pytest.importorskip("pypiserver")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    packages = tmp_path / "packages"
    packages.mkdir()
    command = [
        sys.executable,
        "-m",
        "pypiserver",
        "run",
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        "-P",
        ".",
        "-a",
        ".",
        str(packages),
    ]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
        yield f"http://127.0.0.1:{port}/"
        process.kill()


def test_a_wheel_is_published_to_a_real_index_once(work, pypi):
    """A second time is refused in a sentence with what to do; nothing of it is a traceback."""
    polls_in(work)
    oa_dev(work, "pack", "mods/polls")
    file = "dist/polls-1.0.0-py3-none-any.whl"
    credentials = {"UV_PUBLISH_USERNAME": "x", "UV_PUBLISH_PASSWORD": "x"}
    done = oa_dev(work, "publish", file, "--to", pypi, **credentials)
    assert (done.returncode, done.stdout) == (0, f"{pypi} + polls 1.0.0\n"), done.stderr
    assert (work / "packages/polls-1.0.0-py3-none-any.whl").read_bytes() == (work / file).read_bytes()

    again = oa_dev(work, "publish", file, "--to", pypi, **credentials)
    assert again.returncode == 1
    assert f"{pypi} has polls 1.0.0 already: a version never changes" in again.stderr
    assert "raise the version, and pack it again" in again.stderr


def test_nothing_is_published_in_clear_text_to_other_machines(work):
    """Credentials would travel with it."""
    put(work)
    done = oa_dev(work, "publish", f"mods-index/{wheel_file('extras', '1.0')}", "--to", "http://example.org/")
    assert done.returncode == 2
    assert "begins with https://" in done.stderr
