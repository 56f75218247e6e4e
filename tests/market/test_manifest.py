"""`mod_manifest.json` beside a mod: version, description, dependencies, defaults and schema are read and used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workspaces import Workspace

from devserver.market.manifest import BadManifest, declared_in, manifest_beside
from devserver.model.facts import Status
from devserver.server.check import check_network
from devserver.server.status import catalogue_of

SCHEMA = {
    "sections": [
        {
            "id": "general",
            "title": "General",
            "fields": [
                {"key": "most", "type": "number", "label": "Most", "default": 10, "min": 1, "required": True},
                {"key": "kind", "type": "select", "label": "Kind", "required": True, "options": [{"value": "a"}]},
            ],
        }
    ]
}
AS_JSON_SCHEMA = {
    "type": "object",
    "properties": {
        "most": {"type": "number", "title": "Most", "default": 10, "minimum": 1},
        "kind": {"type": "string", "title": "Kind", "enum": ["a"]},
    },
    "required": ["kind"],
}


MOD = """
from devserver import BaseMod


class AMod(BaseMod):
    pass
"""


def package(work: Workspace, name: str, **manifest: object) -> None:
    """A mod that is a package, with a manifest."""
    work.write(f"mods/{name}/__init__.py", "")
    work.write(f"mods/{name}/mod.py", MOD)
    work.write(f"mods/{name}/mod_manifest.json", json.dumps(manifest))


async def test_a_manifest_says_what_a_class_does_not(work: Workspace) -> None:
    """Version and description are shown; the defaults are the configuration as far as network.yaml says nothing."""
    package(work, "wiki", version="2.3.0", description="Pages.", default_config={"most": 10, "kind": "a"})
    await work.start({"name": "mods.wiki", "config": {"most": 5}})
    [row] = work.net.running_mods().values()
    assert (row["version"], row["description"], row["config"]) == ("2.3.0", "Pages.", {"most": 5})
    assert work.net.mods["mods.wiki"].config == {"most": 5, "kind": "a"}


async def test_a_saved_manifest_reloads_its_mod(work: Workspace) -> None:
    """It is a source of the mod like any other."""
    package(work, "wiki", version="1.0.0")
    await work.start("mods.wiki")
    await work.save("mods/wiki/mod_manifest.json", '{"version": "1.1.0"}')
    assert work.net.running_mods()["wiki"]["version"] == "1.1.0"


async def test_a_mod_waits_for_what_its_manifest_depends_on(work: Workspace) -> None:
    """`dependencies` are requirements: they are loaded first, and one that is missing is named."""
    package(work, "ant", dependencies=["mods.bee>=2"])
    package(work, "bee", version="2.1")
    await work.start("mods.ant", "mods.bee")
    assert set(work.net.running_mods()) == {"ant", "bee"}
    package(work, "cat", dependencies=["mods.dog"])
    message = (await work.net.load_mod("mods.cat")).message
    assert "it needs mods.dog (mods/cat/mod_manifest.json:1), which is nowhere" in message
    refused = await work.net.unload_mod("bee")
    assert (refused.success, "ant needs it" in refused.message) == (False, True)


def test_the_schema_of_a_manifest_is_that_of_check_and_of_editors(tmp_path: Path) -> None:
    """Sections of fields become JSON Schema."""
    work = Workspace(tmp_path)
    package(work, "wiki", config_schema=SCHEMA)
    assert check_network(work.yaml("mods.wiki")).schemas == {"mods.wiki": AS_JSON_SCHEMA}


async def test_the_schema_of_a_manifest_is_listed_with_the_events(work: Workspace) -> None:
    """`oa-dev events --list` and the page ask for it."""
    package(work, "wiki", config_schema=SCHEMA)
    await work.start({"name": "mods.wiki", "config": {"kind": "a"}})
    assert catalogue_of(work.net)["mods"][0]["config_schema"] == AS_JSON_SCHEMA


async def test_a_configuration_that_does_not_fit_the_schema_of_a_manifest_is_refused(work: Workspace) -> None:
    """At the start, by `load_mod` and on a save, at its place; what runs keeps running, and a repaired value loads."""
    package(work, "wiki", config_schema=AS_JSON_SCHEMA)
    await work.start({"name": "mods.wiki", "config": {"kind": "a", "most": 0}})
    assert work.running() == {}
    [error] = [each.error for each in work.outcomes()]
    assert error is not None and error.where is not None
    assert error.message == 'config of mods.wiki: "most" must be at least 1, not 0'
    assert (Path(error.where.file).name, error.where.line, error.where.column) == ("network.yaml", 7, 13)
    answer = await work.net.load_mod("mods.wiki", config={"most": 2})
    assert (answer.success, '"kind" is missing' in answer.message) == (False, True)
    await work.save_yaml({"name": "mods.wiki", "config": {"kind": "a"}})
    assert work.running() == {"wiki": 1}
    done = await work.save_yaml({"name": "mods.wiki", "config": {"kind": "b"}})
    assert ([each.status for each in done.outcomes], work.running()) == ([Status.ROLLED_BACK], {"wiki": 1})


def test_check_refuses_what_the_schema_of_a_manifest_refuses(tmp_path: Path) -> None:
    """And names the words of the schema that restrict nothing here."""
    work = Workspace(tmp_path)
    package(work, "wiki", config_schema={**AS_JSON_SCHEMA, "if": {}})
    checked = check_network(work.yaml({"name": "mods.wiki", "config": {"kind": "b"}}))
    assert [error.message for _, error in checked.mods] == ['config of mods.wiki: "kind" must be one of "a", not "b"']
    assert checked.notes == ("mods.wiki: config_schema of its manifest says if, which is not checked here",)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{\n  "version": 1\n  !}', 3, "is not JSON"),
        ("[]", 1, "is an object"),
        ('{"dependencies": "mods.wiki"}', 1, "dependencies is a list"),
        ('{"version": 2}', 1, "version is a text"),
        ('{"default_config": []}', 1, ""),
    ],
)
def test_a_manifest_that_cannot_be_used_is_told_with_its_place(tmp_path: Path, text: str, line: int, says: str) -> None:
    """As a fault of the mod."""
    (tmp_path / "mod_manifest.json").write_text(text)
    if not says:
        assert manifest_beside(tmp_path / "mod.py") is not None
        return
    with pytest.raises(BadManifest, match=says) as raised:
        manifest_beside(tmp_path / "mod.py")
    assert (Path(raised.value.file or "").name, raised.value.line) == ("mod_manifest.json", line)


def test_the_mods_of_openagents_load_without_what_their_manifests_depend_on(tmp_path: Path) -> None:
    """As they do there; the rest of the manifest counts."""
    folder = tmp_path / "openagents" / "mods" / "project"
    folder.mkdir(parents=True)
    (folder / "mod_manifest.json").write_text('{"version": "2.0", "dependencies": ["openagents.mods.default"]}')
    found = manifest_beside(folder / "mod.py")
    assert found is not None
    assert (found.version, found.requires) == ("2.0", None)


def test_each_need_of_a_manifest_has_its_line(tmp_path: Path) -> None:
    """As those of a class."""
    text = '{\n "version": "2.0",\n "dependencies": [\n  "mods.bee>=2",\n  "mods.cat"\n ]\n}'
    (tmp_path / "mod_manifest.json").write_text(text)
    found = declared_in(tmp_path / "mod.py", MOD.encode())
    assert (found.requires, found.version) == (("mods.bee>=2", "mods.cat"), "2.0")
    assert {what: place.line for what, place in found.where.items()} == {"version": 2, "mods.bee>=2": 4, "mods.cat": 5}


def test_a_project_beside_a_mod_says_its_version_and_its_packages(tmp_path: Path) -> None:
    """pyproject.toml of its folder; the packages of a PEP 723 block count too."""
    text = '[project]\nname = "search"\nversion = "0.2"\ndependencies = [\n  "idna>=3",\n]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    block = "# /// script\n# dependencies = ['text-tools']\n# ///\n"
    found = declared_in(tmp_path / "mod.py", (block + MOD).encode())
    assert (found.version, found.packages) == ("0.2", ("text-tools", "idna>=3"))
    assert (found.where["idna>=3"].line, found.where["idna>=3"].file.name) == (5, "pyproject.toml")
    assert declared_in(tmp_path / "alone.py", MOD.encode()).packages == ()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[project]\nname = \n", 2, "is not TOML"),
        ("project = 1", 1, "project is a table"),
        ("[project]\ndependencies = 'idna'", 1, "dependencies is a list"),
        ("[project]\nversion = 1", 1, "version is a text"),
    ],
)
def test_a_project_that_cannot_be_used_is_told_with_its_place(tmp_path: Path, text: str, line: int, says: str) -> None:
    """As a manifest is."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(BadManifest, match=says) as raised:
        manifest_beside(tmp_path / "mod.py")
    assert (Path(raised.value.file or "").name, raised.value.line) == ("pyproject.toml", line)


async def test_a_saved_project_reloads_its_mod(work: Workspace) -> None:
    """It is a source of the mod like any other."""
    package(work, "wiki")
    work.write("mods/wiki/pyproject.toml", '[project]\nname = "wiki"\nversion = "1.0"\n')
    await work.start("mods.wiki")
    assert work.net.running_mods()["wiki"]["version"] == "1.0"
    await work.save("mods/wiki/pyproject.toml", '[project]\nname = "wiki"\nversion = "1.1"\n')
    assert work.net.running_mods()["wiki"]["version"] == "1.1"
