"""`add`, `update`, `remove`, `sync`: what they print, which files they change, and what a running server does then."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locked_wheels import make_mod_wheel, make_wheel, mod_source
from nursery import Popen
from processes import OA_DEV, PATIENCE, Running, environment, oa_dev, write
from pydantic import TypeAdapter

from devserver.cli.exits import Exit
from devserver.cli.installing import Choices, add, remove
from devserver.cli.staging import Asked
from devserver.market.folder import alone
from devserver.market.lock import NAME
from devserver.model import forms_of_answers as forms

NETWORK = """\
# A network with comments.
network:
  name: team   # the name
  mods:
    # first of all
    - name: mods.echo
      config: {loud: true}   # loudly

# at the end
dev:
  indexes: [mods-index]
  packages: none
"""
ASK = ("send", "polls.ask")


def index(folder: Path) -> Path:
    return folder / "mods-index"


def files(folder: Path) -> dict[str, bytes | None]:
    """What a command may change."""
    names = ("network.yaml", NAME)
    return {name: (folder / name).read_bytes() if (folder / name).exists() else None for name in names}


def asked(folder: Path) -> dict[str, Any]:
    """What the mod answers."""
    answer = json.loads(oa_dev(folder, *ASK, "--json").stdout)
    assert answer["success"], answer
    return dict(answer["data"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with one mod of its own, and `polls` 1.0 in its index."""
    write(tmp_path, NETWORK)
    make_mod_wheel(index(tmp_path), "polls", "1.0")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[Running]:
    """The same, while its network runs."""
    running = Running(folder)
    try:
        running.until(type="ready")
        yield running
    finally:
        running.end()


def test_a_mod_is_added_updated_undone_and_removed_while_the_network_runs(served: Running) -> None:
    """It serves at once, keeps its state over an upgrade, and leaves network.yaml as it was."""
    folder = served.folder
    before = files(folder)
    done = oa_dev(folder, "add", "polls", "--yes")
    assert "polls 1.0 from mods-index" in done.stdout
    assert "answers   polls.ask" in done.stdout
    assert "network.yaml:8 + polls" in done.stdout
    assert "+ polls v1" in done.stdout
    size = re.search(r"\d+ files?, \d+ lines?, [\d.]+ KB", done.stdout)
    assert size is not None and size[0] in oa_dev(folder, "show", "polls").stdout, "one figure, that of the wheel"
    assert asked(folder) == {"version": "1.0", "asked": 1}
    assert (folder / "network.yaml").read_text() == NETWORK.replace("# loudly\n", "# loudly\n    - name: polls\n")
    first = files(folder)

    make_mod_wheel(index(folder), "polls", "1.1")
    done = oa_dev(folder, "update", "--yes")
    assert "polls 1.0 -> 1.1" in done.stdout.replace("→", "->")
    assert asked(folder) == {"version": "1.1", "asked": 2}

    assert oa_dev(folder, "undo", "polls").returncode == 0
    assert asked(folder) == {"version": "1.0", "asked": 2}
    assert files(folder) == first

    assert oa_dev(folder, "add", "polls==1.1", "--beside", "polls", "--share", "100%", "--yes").returncode == 0
    split = files(folder)
    assert asked(folder)["version"] == "1.1"
    promoted = oa_dev(folder, "promote", "polls@1", "--write")
    assert (promoted.returncode, "the next start" in promoted.stdout) == (0, False), promoted
    (folder / "network.yaml").write_bytes((written := (folder / "network.yaml").read_bytes()) + b"# mine\n")
    edited = oa_dev(folder, "undo", "polls")
    assert (edited.returncode, '+ - label: "1" + version: "==1.1"' in edited.stderr) == (1, True), edited
    (folder / "network.yaml").write_bytes(written)
    undone = oa_dev(folder, "undo")
    assert (undone.returncode, files(folder)) == (0, split), undone
    rows = json.loads(oa_dev(folder, "status", "--json").stdout)["mods"]
    assert [(each["mod_id"], each["version"]) for each in rows[1:]] == [("polls", "1.0"), ("polls@1", "1.1")]

    assert oa_dev(folder, "remove", "polls").returncode == 0
    assert files(folder) == before
    assert json.loads(oa_dev(folder, *ASK, "--json").stdout)["data"] == {"delivered": 0}


def test_a_mod_that_does_not_start_leaves_every_file_as_it_was(served: Running) -> None:
    """Also the wheel that was put into the index; `--keep` leaves it listed."""
    folder = served.folder
    before = files(folder)
    make_mod_wheel(folder / "elsewhere", "broken", "1.0", "raise KeyError('token')\n")
    wheel = "elsewhere/broken-1.0-py3-none-any.whl"
    done = oa_dev(folder, "add", wheel, "--yes")
    assert done.returncode == 1
    assert "KeyError" in done.stdout and "are as before" in done.stdout
    assert files(folder) == before
    assert not list(index(folder).glob("broken-*"))
    assert oa_dev(folder, "add", wheel, "--yes", "--keep").returncode == 0
    assert "- name: broken" in (folder / "network.yaml").read_text()


def test_an_upgrade_that_does_not_start_leaves_the_lock_as_it_was(served: Running) -> None:
    """The version that ran serves on."""
    folder = served.folder
    oa_dev(folder, "add", "polls", "--yes")
    before = files(folder)
    make_mod_wheel(index(folder), "polls", "1.1", "1 / 0\n")
    done = oa_dev(folder, "update", "polls", "--yes")
    assert (done.returncode, files(folder)) == (1, before)
    assert asked(folder)["version"] == "1.0"
    assert json.loads(oa_dev(folder, "settle", "--json").stdout)["runs"] is True


def test_a_plan_without_a_server_knows_what_is_locked(folder: Path) -> None:
    """A start would load it; where it is not installed, that is said, and how it gets there."""
    oa_dev(folder, "add", "polls", "--yes")
    assert "+ polls  load" in oa_dev(folder, "plan").stdout
    shutil.rmtree(folder / ".oa-dev" / "env")
    assert "+ polls" not in oa_dev(folder, "plan").stdout


ENDS = "import os\nfrom pathlib import Path\nPath('came').write_text('')\nos._exit(3)\n"


@pytest.mark.slow
def test_a_locked_mod_that_ends_the_process_is_left_out_next_time(folder: Path) -> None:
    """The supervisor starts the network again without it, as it does with any mod."""
    make_mod_wheel(index(folder), "deadly", "1.0", ENDS)
    assert oa_dev(folder, "add", "deadly", "--yes").returncode == 0
    running = Running(folder, "--supervise")
    try:
        ready = running.until(type="ready")
        assert [each["mod_id"] for each in ready["mods"]] == ["echo"]
        assert (folder / "came").exists()
    finally:
        running.end()


def test_what_others_need_is_not_removed(served: Running) -> None:
    """network.yaml stays, and it is said who needs it."""
    folder = served.folder
    oa_dev(folder, "add", "polls", "--yes")
    source = mod_source("report", "1").replace('version = "1"', 'version = "1"\n    requires = ["polls>=1"]')
    (folder / "mods" / "report.py").write_text(source)
    text = (folder / "network.yaml").read_text().replace("- name: polls\n", "- name: polls\n    - name: mods.report\n")
    (folder / "network.yaml").write_text(text)
    oa_dev(folder, "settle")
    before = files(folder)
    done = oa_dev(folder, "remove", "polls")
    assert done.returncode == 1
    assert "report" in done.stdout + done.stderr
    assert files(folder) == before


def test_without_an_answer_nothing_is_added(folder: Path) -> None:
    """Without a terminal the review is shown, and how to agree; the exit code is 1."""
    before = files(folder)
    done = oa_dev(folder, "add", "polls")
    assert (done.returncode, files(folder)) == (1, before)
    assert "touches" in done.stdout and "Add it? --yes says so" in done.stdout


def test_a_mod_of_a_catalogue_that_a_mod_needs_is_found_by_sync(folder: Path) -> None:
    """Also where it is all that is new: the lists on this machine are read."""
    (folder / "mods" / "echo.py").write_text(mod_source("echo", "1") + '    requires = ["polls>=1"]\n')
    done = oa_dev(folder, "sync")
    assert (done.returncode, "Install 1 package? --yes says so" in done.stdout) == (1, True), done.stdout


def test_a_package_that_a_mod_needs_is_installed_and_the_mod_loaded(served: Running) -> None:
    """A mod of the workspace says what it needs; sync brings it, and the mod comes up by itself."""
    folder = served.folder
    make_wheel(index(folder), "odd-numbers", "3.1", {"odd_numbers.py": "FIRST = 1\n"})
    head = "# /// script\n# dependencies = ['odd-numbers>=3,<4']\n# ///\nimport odd_numbers\n"
    (folder / "mods" / "polls.py").write_text(head + mod_source("polls", "1"))
    text = (
        (folder / "network.yaml")
        .read_text()
        .replace("    - name: mods.echo", "    - name: mods.polls\n    - name: mods.echo")
    )
    (folder / "network.yaml").write_text(text)
    oa_dev(folder, "settle")
    done = oa_dev(folder, "sync", "--yes")
    assert "+ odd-numbers 3.1" in done.stdout and "needed by mods.polls" in done.stdout
    assert oa_dev(folder, "settle").returncode == 0
    assert asked(folder)["version"] == "1"
    assert oa_dev(folder, "sync").stdout == "what is locked is installed: 1 package\n"


def test_another_folder_of_mods_on_the_import_path_is_not_meant(folder: Path) -> None:
    """What is wanted is read from this workspace, also where its folder is not on the import path, as for the key i."""
    make_wheel(index(folder), "odd-numbers", "3.1", {"odd_numbers.py": "FIRST = 1\n"})
    head = "# /// script\n# dependencies = ['odd-numbers>=3,<4']\n# ///\n"
    (folder / "mods" / "echo" / "mod.py").write_text(head + mod_source("echo", "1"))
    command = [sys.executable, "-P", "-m", "devserver", "sync", "--yes"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    assert "+ odd-numbers 3.1" in done.stdout, done.stderr


def test_what_programs_are_told_is_what_the_schema_says(served: Running) -> None:
    """What was installed, what is asked, that there is nothing to do, what went, and both sides of what cannot be."""
    folder = served.folder

    def told(*arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(oa_dev(folder, *arguments, "--json").stdout)
        TypeAdapter(forms.ANSWERS[arguments[0]]).validate_python(answer, strict=True)
        return answer

    asks = told("add", "polls")
    assert (asks["asks"], asks["reviews"]["polls"]["answers"]) == ("Add it?", ["polls.ask"])
    added = told("add", "polls", "--yes")
    assert added["installed"]["packages"] == [{"name": "polls", "from": None, "to": "1.0"}]
    assert [each["success"] for each in added["done"]] == [True]
    assert told("update", "--yes")["installed"] is None
    assert told("sync")["installed"] is None
    assert told("sync", "--restore")["success"] is True
    assert told("remove", "polls")["installed"]["packages"] == [{"name": "polls", "from": "1.0", "to": None}]


def test_packages_that_cannot_be_brought_together_are_named_with_both_sides(folder: Path) -> None:
    """Nothing is changed; both say where it is written; the derivation on request."""
    for version in ("1.0", "2.0"):
        make_wheel(index(folder), "odd-numbers", version, {"odd_numbers.py": ""})
    for name, needs in (("one", "odd-numbers<2"), ("two", "odd-numbers>=2")):
        head = f"# /// script\n# dependencies = ['{needs}']\n# ///\n"
        (folder / "mods" / f"{name}.py").write_text(head + mod_source(name, "1"))
    text = NETWORK.replace("    - name: mods.echo", "    - name: mods.one\n    - name: mods.two\n    - name: mods.echo")
    (folder / "network.yaml").write_text(text)
    before = files(folder)
    done = oa_dev(folder, "sync", "--yes")
    assert (done.returncode, files(folder)) == (1, before)
    assert "no set of packages suits all of network.yaml" in done.stdout
    assert "mods.one 1    needs odd-numbers<2     mods/one.py:2" in done.stdout
    assert "mods.two 1    needs odd-numbers>=2    mods/two.py:2" in done.stdout
    assert "Because" not in done.stdout
    assert "Because" in oa_dev(folder, "sync", "--yes", "--explain").stdout
    told = json.loads(oa_dev(folder, "sync", "--yes", "--json").stdout)
    TypeAdapter(forms.ANSWERS["sync"]).validate_python(told, strict=True)
    assert [each["needs"] for each in told["sides"]] == ["odd-numbers<2", "odd-numbers>=2"]


def test_what_the_server_itself_has_cannot_be_asked_for_otherwise(folder: Path) -> None:
    """Its packages are in the process already."""
    head = "# /// script\n# dependencies = ['pydantic>=9']\n# ///\n"
    (folder / "mods" / "echo" / "mod.py").write_text(head + mod_source("echo", "1"))
    done = oa_dev(folder, "sync", "--yes")
    assert done.returncode == 1
    assert (
        "mods.echo 1 needs pydantic>=9 (mods/echo/mod.py:2), and oa-dev 0.2.0 itself runs with pydantic" in done.stdout
    )


def test_a_clone_takes_what_is_locked_from_its_folder(folder: Path, tmp_path: Path) -> None:
    """Without network, without a question of what is new: the lock says all of it."""
    oa_dev(folder, "add", "polls", "--yes")
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("network.yaml", NAME):
        (clone / name).write_bytes((folder / name).read_bytes())
    write(clone, (folder / "network.yaml").read_text())
    make_mod_wheel(index(clone), "polls", "1.0")
    before = files(clone)
    running = Running(clone)
    try:
        running.until(type="notice", message="1 locked package is not installed · oa-dev sync")
        running.until(type="ready")
        assert oa_dev(clone, "sync", "--offline", "--yes").returncode == 0
        assert oa_dev(clone, "settle").returncode == 0
        assert asked(clone)["version"] == "1.0"
        assert files(clone) == before
    finally:
        running.end()


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode != 0,
    reason="no namespaces of networks here",
)
@pytest.mark.parametrize("name", ["polls", "glossary"])
def test_without_any_network_and_nothing_fetched_before_a_mod_is_added(folder: Path, name: str) -> None:
    """From a folder, and of what is built in: in a namespace without a network, with an empty cache."""
    command = ["unshare", "-rn", *OA_DEV, "add", name, "--yes"]
    surroundings = environment(UV_CACHE_DIR=str(folder / "cache"))
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'name = "{name}"' in (folder / NAME).read_text()


def test_what_is_built_in_leaves_nothing_when_declined_or_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """network.yaml is the one that it was, byte for byte; the index that was made for the wheel goes with it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.yaml").write_text(NETWORK.partition("# at the end")[0])
    before = files(tmp_path)
    assert add(Choices(offline=True), ["poll-report"], Asked()) == Exit.FATAL, "there is nobody to answer"
    assert (files(tmp_path), index(tmp_path).exists()) == (before, False)
    assert add(Choices(yes=True, offline=True), ["poll-report"], Asked()) == Exit.CLEAN
    listed = (tmp_path / "network.yaml").read_text()
    assert "indexes: [mods-index]" in listed and len(list(index(tmp_path).iterdir())) == 2
    added = files(tmp_path)
    assert add(Choices(offline=True), ["poll-report"], Asked()) == Exit.CLEAN, "there is nothing to ask"
    assert (files(tmp_path), len(list(index(tmp_path).iterdir()))) == (added, 2)
    assert remove(Choices(yes=True, offline=True), ["poll-report"]) == Exit.CLEAN
    assert (files(tmp_path), index(tmp_path).exists()) == (before, False)


def test_a_changed_wheel_of_the_same_version_is_not_installed(folder: Path) -> None:
    """Both hashes are said; nothing of it is imported, and the lock stays."""
    oa_dev(folder, "add", "polls", "--yes")
    before = files(folder)
    make_mod_wheel(index(folder), "polls", "1.0", "print('IMPORTED')\n")
    make_wheel(index(folder), "odd-numbers", "3.1", {"odd_numbers.py": ""})
    head = "# /// script\n# dependencies = ['odd-numbers']\n# ///\n"
    (folder / "mods" / "echo" / "mod.py").write_text(head + mod_source("echo", "1"))
    done = oa_dev(folder, "sync", "--yes")
    assert (done.returncode, files(folder)) == (1, before)
    assert "polls 1.0 is not what was locked: sha256" in done.stderr
    assert "IMPORTED" not in done.stdout + done.stderr


def test_a_name_that_no_catalogue_lists_is_taken_from_nowhere(folder: Path) -> None:
    """The one that may be meant is named; a package of that name in an index is not taken by itself."""
    make_wheel(index(folder), "pollz", "1.0", {"pollz.py": ""})
    done = oa_dev(folder, "add", "pollz", "--yes")
    assert done.returncode == 1
    assert "no catalogue here lists pollz" in done.stderr and "Did you mean polls?" in done.stderr
    done = oa_dev(folder, "add", "pollz", "--yes", "--exactly", "--from-index")
    assert "pollz 1.0 is not a mod (no entry point openagents.mods)" in done.stderr


def test_a_package_may_not_bring_a_name_that_is_taken(folder: Path) -> None:
    """Of the server, of the workspace, of Python itself: refused before anything counts."""
    before = files(folder)
    make_wheel(
        index(folder), "sly", "1.0", {"sly/__init__.py": mod_source("sly", "1"), "yaml/__init__.py": ""}, mods=["sly"]
    )
    done = oa_dev(folder, "add", "sly", "--yes")
    assert done.returncode == 1
    assert "would shadow yaml, which oa-dev itself uses" in done.stderr
    assert files(folder) == before


def test_a_mod_from_a_git_repository_is_locked_with_its_commit(folder: Path, tmp_path: Path) -> None:
    """Built by uv from the revision, put into the index of the workspace, and said where it came from."""
    work = tmp_path / "git-polls"
    (work / "src" / "votes").mkdir(parents=True)
    (work / "src" / "votes" / "__init__.py").write_text(mod_source("votes", "2.0"))
    (work / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["uv_build>=0.11,<0.14"]\nbuild-backend = "uv_build"\n'
        '[project]\nname = "votes"\nversion = "2.0"\nrequires-python = ">=3.11"\n'
        '[project.entry-points."openagents.mods"]\nvotes = "votes"\n'
    )
    who = ("-c", "user.name=a", "-c", "user.email=a@b.test")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "one"), ("tag", "v2")):
        subprocess.run(["git", *command], cwd=work, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=work, capture_output=True, text=True, check=True).stdout
    done = oa_dev(folder, "add", f"git+file://{work}@v2", "--yes")
    assert done.returncode == 0, done.stderr
    text = (folder / NAME).read_text()
    assert commit.strip() in text
    assert 'path = "mods-index/votes-2.0-py3-none-any.whl"' in text


def test_a_lock_with_conflicts_of_a_merge_is_made_anew(folder: Path) -> None:
    """Both sides' mods are in it; nothing else than sync takes such a lock."""
    make_mod_wheel(index(folder), "votes", "1.0")
    before = (folder / "network.yaml").read_text()
    oa_dev(folder, "add", "polls", "--yes")
    ours = (folder / NAME).read_text()
    (folder / NAME).unlink()
    (folder / "network.yaml").write_text(before)
    oa_dev(folder, "add", "votes", "--yes")
    theirs = (folder / NAME).read_text()
    text = before.replace("    - name: mods.echo", "    - name: polls\n    - name: votes\n    - name: mods.echo")
    (folder / "network.yaml").write_text(text)
    (folder / NAME).write_text(f"<<<<<<< ours\n{ours}=======\n{theirs}>>>>>>> theirs\n")
    assert "cannot be used" in oa_dev(folder, "update", "--yes").stderr
    done = oa_dev(folder, "sync", "--yes")
    assert "is written again" in done.stdout
    lock = (folder / NAME).read_text()
    assert 'mods = { "polls" = "polls", "votes" = "votes" }' in lock


def test_an_installed_mod_that_was_changed_by_hand_is_said_and_put_back(folder: Path) -> None:
    """`check` names it; `sync --restore` asks, and brings the bytes back that were locked. A version in network.yaml
    that is not the locked one is named, too."""
    oa_dev(folder, "add", "polls", "--yes")
    (file,) = (folder / ".oa-dev" / "env").glob("*/polls/__init__.py")
    before = file.read_bytes()
    assert "by hand" not in oa_dev(folder, "check").stdout
    file.write_text(mod_source("polls", "of a developer"))
    assert "polls was changed by hand (polls/__init__.py)" in oa_dev(folder, "check").stdout
    assert oa_dev(folder, "sync", "--restore").returncode == 1
    assert file.read_bytes() != before
    assert oa_dev(folder, "sync", "--restore", "--yes").returncode == 0
    assert file.read_bytes() == before
    shutil.rmtree(folder / ".oa-dev")
    assert oa_dev(folder, "sync").stdout == "what is locked is installed: 1 package\n"
    assert file.read_bytes() == before
    path = folder / "network.yaml"
    path.write_text(path.read_text().replace("- name: polls", "- name: polls\n      version: '>=7'"))
    assert "wants polls >=7, and 1.0 is locked: oa-dev sync" in oa_dev(folder, "check").stdout


def test_a_fresh_clone_runs_with_sync(folder: Path) -> None:
    """`run --sync` installs what is locked before it serves."""
    oa_dev(folder, "add", "polls", "--yes")
    shutil.rmtree(folder / ".oa-dev")
    running = Running(folder, "--sync")
    try:
        assert [each["mod_id"] for each in running.until(type="ready")["mods"]] == ["echo", "polls"]
    finally:
        running.end()


def test_what_needs_no_answer_is_carried_out_beside_a_server_that_runs(served: Running) -> None:
    """By a process that has imported all, if it would do the same; the second of two at once says who is at it."""
    folder = served.folder

    def is_handed_over(*arguments: str, **values: str) -> bool:
        process = Popen([*OA_DEV, *arguments], cwd=folder, env=environment(**values), stdout=subprocess.DEVNULL)
        assert process.wait(PATIENCE) == 0
        return int((folder / ".oa-dev" / "sync.lock").read_text()) != process.pid

    assert is_handed_over("add", "polls", "--yes")
    assert asked(folder)["version"] == "1.0"
    make_mod_wheel(index(folder), "polls", "1.1")
    assert is_handed_over("update", "--yes", "--json")
    assert not is_handed_over("remove", "polls", PYTHONUTF8="1"), "variables that Python reads when it starts"
    with alone(folder):
        done = oa_dev(folder, "add", "polls", "--yes")
    assert done.returncode == 1
    assert "another oa-dev changes what is installed here (pid" in done.stderr


@pytest.mark.slow
def test_what_an_imported_package_keeps_from_being_reloaded_comes_by_a_restart_in_place(served: Running) -> None:
    """The new version needs another version of a package that is imported: the process is replaced, the state moves."""
    folder = served.folder
    for version, needed in (("1.0", "1.0"), ("1.1", "2.0")):
        make_wheel(index(folder), "odd-texts", needed, {"odd_texts.py": f"VERSION = '{needed}'\n"})
        source = mod_source("polls", version).replace('{"version":', '{"texts": odd_texts.VERSION, "version":')
        make_mod_wheel(
            index(folder), "polls", version, "import odd_texts\n" + source, requires=[f"odd-texts=={needed}"]
        )
        done = oa_dev(folder, "add" if version == "1.0" else "update", "polls", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        answer = asked(folder)
    assert "restarted in place" in done.stdout
    assert answer == {"texts": "2.0", "version": "1.1", "asked": 2}
