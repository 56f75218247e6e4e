"""The catalogue of a folder of wheels says what the wheels say, and keeps what people wrote into it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wheels import wheel, wheel_file

from devserver.market.catalogue import BadCatalogue
from devserver.market.index import IsThere, made, publish_to, read_index, write_index
from devserver.market.package import PackageRefused


def put(folder: Path, name: str = "extras", version: str = "1.0", **facts: object) -> Path:
    """A wheel in a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / wheel_file(name, version)
    path.write_bytes(wheel(name, version, **facts))  # type: ignore[arg-type]
    return path


def test_an_index_lists_what_its_wheels_say(tmp_path):
    """Summary of the newest, and of each version what it answers, needs and touches."""
    put(tmp_path, version="1.0")
    put(tmp_path, version="1.10", requires=["idna>=3"], headers="Summary: Tags\n")
    entry = write_index(tmp_path).catalogue.entries["extras"]

    assert (entry.summary, entry.mods, entry.newest()) == ("Tags", ["extras"], "1.10")
    assert entry.releases["1.10"].requires == ["idna>=3"]
    assert entry.releases["1.0"].answers == ["extras.ask"]
    assert read_index(tmp_path).entries["extras"] == entry


def test_a_folder_without_an_index_is_read_all_the_same(tmp_path):
    """In memory: nothing is written into it."""
    put(tmp_path)
    assert list(read_index(tmp_path).entries) == ["extras"]
    assert not (tmp_path / "index.json").exists()


def test_what_people_wrote_into_an_index_stays(tmp_path):
    """What is yanked and blocked, and when a release came; what is blocked also when its wheel has gone."""
    put(tmp_path, version="1.0")
    put(tmp_path, version="1.1")
    put(tmp_path, "other")
    write_index(tmp_path)
    values = json.loads((tmp_path / "index.json").read_text())
    releases = values["mods"]["extras"]["releases"]
    releases["1.0"] |= {"yanked": "loses votes", "made": "2020-01-02"}
    releases["1.1"]["blocked"] = "steals tokens"
    (tmp_path / "index.json").write_text(json.dumps(values))
    (tmp_path / wheel_file("extras", "1.1")).unlink()
    (tmp_path / wheel_file("other", "1.0")).unlink()
    entries = write_index(tmp_path).catalogue.entries

    assert list(entries) == ["extras"]
    assert (entries["extras"].releases["1.0"].yanked, entries["extras"].releases["1.0"].made) == (
        "loses votes",
        "2020-01-02",
    )
    assert entries["extras"].blocked_for("1.1") == "steals tokens"


def test_what_cannot_be_listed_is_said(tmp_path):
    """Packages that are no mods, and wheels that break a rule; the others are listed."""
    put(tmp_path)
    put(tmp_path, "board", mods=[], files={"board.py": ""})
    (tmp_path / wheel_file("broken", "1.0")).write_bytes(b"PK")
    found = made(tmp_path)

    assert list(found.catalogue.entries) == ["extras"]
    assert "no entry point openagents.mods" in found.refused[wheel_file("board", "1.0")]
    assert "cannot be read as an archive" in found.refused[wheel_file("broken", "1.0")]


def test_a_version_that_was_published_never_changes(tmp_path):
    """The same bytes again are nothing new; other bytes are refused, and nothing of them is taken."""
    index = tmp_path / "index"
    first = put(tmp_path / "a")
    publish_to(index, first)
    publish_to(index, first)
    before = sorted((each.name, each.read_bytes()) for each in index.glob("*.whl"))
    with pytest.raises(IsThere, match="a version never changes, raise it"):
        publish_to(index, put(tmp_path / "b", headers="Summary: other\n"))
    assert sorted((each.name, each.read_bytes()) for each in index.glob("*.whl")) == before


def test_what_is_no_mod_is_not_published(tmp_path):
    """It has no entry point of the group."""
    with pytest.raises(PackageRefused, match="is not a mod"):
        publish_to(tmp_path / "index", put(tmp_path, "board", mods=[], files={"board.py": ""}))
    assert not (tmp_path / "index").exists()


def test_an_index_that_cannot_be_read_is_not_written_over(tmp_path):
    """What people wrote into it would be lost."""
    put(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(BadCatalogue):
        write_index(tmp_path)
    assert (tmp_path / "index.json").read_text() == "{"
