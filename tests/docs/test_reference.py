"""The documentation: what exists is documented, links lead somewhere, public words are explained."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import devserver
from devserver import testing
from devserver.cli.app import _command
from devserver.model.facts import Status, Way
from devserver.model.lifecycle import Action, ModState, Phase
from devserver.network.system import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = ROOT / "devserver"
PAGES = sorted(DOCS.rglob("*.md"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def hooks():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("table", sorted(hooks().TABLES))
def test_each_row_of_the_reference_says_what_it_is_about(table: str) -> None:
    """An option, key, setting, field or event without a description is undocumented."""
    column = {"commands": 1, "keys": 1, "settings": 3, "sample_events": 2}.get(table)
    text = hooks().TABLES[table]()
    rows = [
        [each.strip() for each in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]
    found = [row for row in rows if row[0].startswith("`") or row[0].startswith(" `")]
    assert found
    if column is not None:
        assert [row[0] for row in found if not row[column]] == []


def test_each_page_is_in_the_navigation_and_each_entry_is_a_page() -> None:
    """A page that no reader can reach is no documentation."""
    listed = re.findall(r"^\s+- (?:.*: )?([\w/-]+\.md)$", (ROOT / ".ci" / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_each_command_that_is_told_exists() -> None:
    """With its options: in the documentation, in what commands print, and on the page."""
    told = re.compile(r"oa-dev ([a-z]+)((?: [^`\"\n|;,()·{}<]+)?)")
    wrong, options = [], options_of_commands()
    files = [*PAGES, ROOT / "README.md", *(each for end in ("py", "js") for each in SOURCES.rglob(f"*.{end}"))]
    for file in files:
        for command, rest in told.findall(file.read_text()):
            words = rest.split()
            # Another word is no command, but prose: "oa-dev is".
            known = options.get(f"{command} {words[0]}" if words else "") or options.get(command)
            given = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest) if known is not None else ()
            wrong += [(file.name, command, each) for each in given if each not in known]
    assert wrong == []


def options_of_commands() -> dict[str, set[str]]:
    """The options of each command, by its words."""
    found: dict[str, set[str]] = {}

    def read(command, words):  # type: ignore[no-untyped-def]
        names = (name for each in command.params for name in (*each.opts, *each.secondary_opts))
        found[" ".join(words)] = {*names, "-h", "--help"}
        for name, each in getattr(command, "commands", {}).items():
            read(each, (*words, name))

    read(_command(), ())
    return found


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "devserver" / "README.md"], ids=str
)
def test_links_between_pages_lead_to_files(page: Path) -> None:
    """A link to a file of the repository names one that is there."""
    targets = [each.partition("#")[0] for each in _LINK.findall(page.read_text())]
    assert [each for each in targets if each and "://" not in each and not (page.parent / each).exists()] == []


def test_readme_begins_with_how_to_get_it_and_two_commands_that_exist() -> None:
    """From an index, from a clone, or without installing it; what is installed for that has no tools for tests."""
    first, second = re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2]
    assert all(each in first for each in ("pip install oa-dev", "pip install /path/to/clone", "uvx oa-dev"))
    app = subprocess.run([sys.executable, "-m", "devserver", "--help"], capture_output=True, text=True, check=True)
    assert [each.split()[1] in app.stdout for each in second.splitlines()] == [True, True]
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert not [each for each in asked if re.match("pytest|mypy|ruff|hypothesis", each)]


def test_the_settings_of_the_site_are_strict() -> None:
    """A warning of the build is an error, so that `make docs` finds what this file cannot."""
    text = (ROOT / ".ci" / "mkdocs.yml").read_text()
    assert yaml.safe_load(text)["strict"] is True


def glossary() -> str:
    return (DOCS / "glossary.md").read_text()


@pytest.mark.parametrize("word", [each.value for kind in (Action, Phase) for each in kind])
def test_each_action_and_phase_is_a_word_of_the_glossary(word: str) -> None:
    """What a plan or an outcome says can be looked up."""
    assert (
        word.replace(" ", "-") in glossary()
        or word in glossary()
        or word in (DOCS / "explanation/reload.md").read_text()
    )


@pytest.mark.parametrize("word", [*(each.value for each in (*Status, *Way, *ModState))])
def test_each_state_is_explained(word: str) -> None:
    """What `--json` says of a mod or a step is in the documentation."""
    text = "".join(page.read_text() for page in PAGES) + hooks().TABLES["json_lines"]()
    assert word in text


def test_the_public_names_are_documented() -> None:
    """Each name that `devserver` and `devserver.testing` export has a part of its own in the reference."""
    parts = re.findall(r"^::: (?:\w+\.)+(\w+)$", (DOCS / "reference" / "python.md").read_text(), re.MULTILINE)
    assert [name for name in (*devserver.__all__, *testing.__all__) if name not in parts] == []


def test_each_request_of_the_control_api_is_documented() -> None:
    """By its whole path, or by the end of one that stands beside another in its row."""
    text = (DOCS / "reference" / "control-api.md").read_text()
    known = set(re.findall(r"`(?:GET |POST )?(/[\w/]+)", text))
    sources = "".join(each.read_text() for each in (SOURCES / "control").glob("*.py"))
    paths = re.findall(r'Route\("(?:GET|POST)", "(/_dev/[^"]+)"', sources)
    assert len(paths) > 40
    assert [each for each in paths if each not in known and f"/{each.rpartition('/')[2]}" not in known] == []


def test_the_commands_that_agents_send_are_those_of_the_protocol() -> None:
    """Each `system.*` event that the network answers, and no other."""
    text = (DOCS / "reference" / "agent-protocol.md").read_text()
    told = {each for each in re.findall(r"`system\.([a-z_.]+)", text) if not each.startswith("notification.")}
    assert told == COMMANDS.keys()


def test_each_page_that_coding_agents_are_led_to_exists() -> None:
    """`llms.txt` is read by programs, which do not look for a page that has moved."""
    links = _LINK.findall((DOCS / "llms.txt").read_text())
    assert {each for each in links if (DOCS / each).is_file()} == {*links} != set()
