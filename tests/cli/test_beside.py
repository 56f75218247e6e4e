"""`add --beside`, `update --try` and `remove` of a line, without a server: the files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from locked_wheels import make_wheel, mod_source

from devserver.cli.beside import Beside, add_beside, update_beside, write_ended
from devserver.cli.exits import Exit, Problem
from devserver.cli.installing import Choices, add, remove
from devserver.cli.staging import Asked
from devserver.market.index import write_index
from devserver.market.lock import NAME, read_lock

NETWORK = """\
network:
  name: team   # the name
  mods: []
dev:
  indexes: [mods-index]
  packages: none
"""
REFUSED = (
    ("extras", {}, "which version of extras"),
    ("extras~=2.1", {"label": "Two"}, "1 to 20 out of a-z"),
    ("extras~=2.1", {"share": "ten"}, "is not a share of the agents"),
)
CHOSEN = Choices(yes=True, as_json=True, offline=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose index has four versions of extras, 1.0 of which is added."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    (tmp_path / "network.yaml").write_text(NETWORK)
    needs = {"1.0": ["words<3"], "2.0": ["words>=3"], "2.1": []}
    for version, requires in needs.items():
        release(tmp_path, version, requires)
    for version in ("2.9", "3.1"):
        make_wheel(tmp_path / "mods-index", "words", version, {"words/__init__.py": ""})
    write_index(tmp_path / "mods-index")
    assert add(CHOSEN, ["extras==1.0"], Asked()) == Exit.CLEAN
    return tmp_path


def release(folder: Path, version: str, requires: list[str]) -> None:
    files = {"extras/__init__.py": "", "extras/mod.py": mod_source("extras", version)}
    make_wheel(folder / "mods-index", "extras", version, files, requires=requires, mods=["extras"])


def beside(what: str, **how: str) -> int:
    return add_beside(CHOSEN, [what], Asked(), Beside(mod="extras", **how))


def last_line(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_packages_that_cannot_be_together_are_said_with_both_sides(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2.0 needs another words than 1.0: both are named with their lines. No file changes, nor by a wrong option."""
    before = {name: (folder / name).read_bytes() for name in ("network.yaml", NAME)}
    assert beside("extras==2.0") == Exit.FATAL
    told = last_line(capsys)
    assert {each["needs"] for each in told["sides"]} == {"words<3", "words>=3"}
    assert {each["place"] for each in told["sides"]} == {"network.yaml:4", "network.yaml:7"}
    for what, how, says in REFUSED:
        with pytest.raises(Problem, match=says):
            beside(what, **how)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_version_beside_is_listed_locked_installed_and_removed(folder: Path) -> None:
    """What stood in the files stays; the wheel lies apart from that of its mod; removing it leaves what was."""
    before = (folder / "network.yaml").read_text()
    assert beside("extras~=2.1", share="10%", agents="ana,bo") == Exit.CLEAN
    text = (folder / "network.yaml").read_text()
    assert '- label: "2"' in text and 'version: "~=2.1"' in text and "# the name" in text
    lock = read_lock((folder / NAME).read_bytes())
    assert lock.versions["extras"] == "1.0" and [(each.line, each.version) for each in lock.lines] == [
        ("extras@2", "2.1")
    ]
    [env] = [each for each in (folder / ".oa-dev" / "env").iterdir() if (each / "@extras@2").is_dir()]
    assert 'version = "2.1"' in (env / "@extras@2" / "extras" / "mod.py").read_text()
    assert 'version = "1.0"' in (env / "extras" / "mod.py").read_text()
    assert remove(CHOSEN, ["extras@2"]) == Exit.CLEAN
    assert (folder / "network.yaml").read_text() == before
    assert not read_lock((folder / NAME).read_bytes()).lines


def test_what_a_promotion_or_a_drop_has_done_is_written(folder: Path) -> None:
    """With --write the promoted range is the mod's, in file and lock; no other byte of network.yaml changes."""
    before = (folder / "network.yaml").read_text()
    assert beside("extras~=2.1", share="10%") == Exit.CLEAN
    assert write_ended("extras@2", promoted=False, as_json=True).endswith("- extras@2")
    assert (folder / "network.yaml").read_text() == before
    assert write_ended("extras@2", promoted=False, as_json=True) == ""
    assert beside("extras~=2.1", share="10%") == Exit.CLEAN
    assert write_ended("extras@2", promoted=True, as_json=True) == ""
    assert write_ended("extras@2", promoted=True, write=True, as_json=True).endswith("version ~=2.1, without extras@2")
    assert (folder / "network.yaml").read_text() == before.replace('"==1.0"', '"~=2.1"')
    lock = read_lock((folder / NAME).read_bytes())
    assert (lock.versions["extras"], lock.lines) == ("2.1", ())


def test_a_line_of_another_path_stays_where_it_is_written(folder: Path) -> None:
    """A promotion leaves it to a person: the mod would have another id. A drop takes the entry out."""
    entry = "    - name: mods.a\n      versions: [{name: mods.b, share: 50%}]\n"
    text = (folder / "network.yaml").read_text().replace("dev:\n", f"{entry}dev:\n")
    (folder / "network.yaml").write_text(text)
    assert write_ended("mods.a@b", promoted=True, as_json=True) == ""
    assert (folder / "network.yaml").read_text() == text
    assert write_ended("mods.a@b", promoted=False, as_json=True)
    assert "versions" not in (folder / "network.yaml").read_text()


def test_an_update_can_be_tried_beside_what_runs(folder: Path) -> None:
    """The lock keeps 1.0, and has the newest that suits as a line; what is locked of a line does not move by itself."""
    text = (folder / "network.yaml").read_text().replace('      version: "==1.0"\n', "")
    (folder / "network.yaml").write_text(text)
    assert update_beside(CHOSEN, ["extras"]) == Exit.CLEAN
    lock = read_lock((folder / NAME).read_bytes())
    assert lock.versions["extras"] == "1.0"
    assert [(each.line, each.version) for each in lock.lines] == [("extras@2", "2.1")]
