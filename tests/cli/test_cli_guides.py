"""The guides about mods from elsewhere are true: their commands are run, and what they show is printed.

Digits, digests, dates and glyphs differ from machine to machine; every word is compared.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from locked_wheels import make_mod_wheel, make_wheel
from processes import Running, oa_dev, write

import devserver
from devserver.market.index import write_index
from devserver.market.wheel import build_wheel

ROOT = Path(__file__).parents[2]
BUILT_IN = Path(devserver.__file__).parent / "catalogue"
NETWORK = "network:\n  name: team\n  mods:\n    - name: mods.echo\n"
ONE_MOD = """\
from devserver import BaseMod


class OneMod(BaseMod):
    version = "1"
"""
_BLOCK = re.compile(r"^```\n(\$ .*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = re.compile(r"sha256 \w+…|:\d+|\b[0-9a-f]{8}…")
_WORD = re.compile(r"[A-Za-z_][\w./<>=~@-]*")


def commands(page: str) -> dict[str, list[str]]:
    """What a page runs, and the lines that it shows of each; an answered question is `--yes`."""
    found: dict[str, list[str]] = {}
    for block in _BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        command, _, shown = block[2:].partition("\n")
        lines = [each for each in shown.splitlines() if each.strip() != "…" and "[y/N]" not in each]
        found[f"{command} --yes" if "[y/N]" in shown else command] = lines
    return found


def words(line: str) -> list[str]:
    return _WORD.findall(_VARIES.sub("", line))


def follow(folder: Path, command: str, shown: list[str]) -> None:
    """Run a command of a page, and find each line that the page shows in what it prints."""
    program, *arguments = shlex.split(command)
    assert program == "oa-dev", command
    done = oa_dev(folder, *arguments)
    told = [" ".join(words(each)) for each in (done.stdout + done.stderr).splitlines()]
    missing = [each for each in shown if not any(" ".join(words(each)) in line for line in told)]
    assert missing == [], f"$ {command}\n{done.stdout}{done.stderr}"


def bring_newer_polls(folder: Path) -> None:
    """Put another version of a built-in mod into the index of a workspace: it answers and touches more."""
    newer = folder / ".newer"
    shutil.copytree(BUILT_IN / "polls", newer)
    project, mod = newer / "pyproject.toml", newer / "src/polls/mod.py"
    project.write_text(project.read_text().replace('version = "1.0.0"', 'version = "1.1.0"'))
    future, close = "from __future__ import annotations\n", '    @mod_event_handler("polls.close"'
    reopen = '    @mod_event_handler("polls.reopen")\n    async def reopen(self, event):\n        return None\n\n'
    assert future in mod.read_text() and close in mod.read_text()
    mod.write_text(mod.read_text().replace(future, f"{future}import urllib.request\n").replace(close, reopen + close))
    build_wheel(newer, folder / "mods-index")
    write_index(folder / "mods-index")


def test_what_the_guide_for_users_shows_is_printed(tmp_path: Path) -> None:
    """A mod is found, added, updated and removed in a network that runs; what cannot be brought together is named."""
    write(tmp_path, NETWORK)
    steps = commands("guides/add-mods.md")
    # These are told of an index with attestations, and of a fresh clone: test_sync and test_cli_market show them.
    del steps["oa-dev update polls"], steps["oa-dev run"]
    server = Running(tmp_path)
    try:
        server.until(type="ready")
        for command in ("oa-dev search poll", "oa-dev add polls --yes"):
            follow(tmp_path, command, steps.pop(command))
        bring_newer_polls(tmp_path)
        for command in ("oa-dev update --yes", "oa-dev remove polls"):
            follow(tmp_path, command, steps.pop(command))
    finally:
        server.end()
    for version in ("1", "2"):
        make_wheel(tmp_path / "mods-index", "odd-numbers", version, {"odd_numbers.py": ""})
    for mod, needs in (("one", "<2"), ("two", ">=2")):
        block = f'# /// script\n# dependencies = ["odd-numbers{needs}"]\n# ///\n'
        (tmp_path / "mods" / f"{mod}.py").write_text(block + ONE_MOD)
    dev = "dev: {indexes: [mods-index], packages: none}\n"
    write(tmp_path, "network:\n  name: team\n  mods: [{name: mods.one}, {name: mods.two}]\n" + dev)
    follow(tmp_path, "oa-dev sync", steps.pop("oa-dev sync"))
    assert steps == {}


def test_what_the_guide_for_authors_shows_is_printed(tmp_path: Path) -> None:
    """A mod of a workspace becomes a wheel, and lies where others find it; so does a package from the start."""
    write(tmp_path, NETWORK)
    shutil.copytree(BUILT_IN / "reminders/src/reminders", tmp_path / "mods/reminders")
    for command, shown in commands("guides/publish-a-mod.md").items():
        follow(tmp_path, command, shown)


def test_what_the_pages_for_teams_and_on_trust_show_is_printed(tmp_path: Path) -> None:
    """Other bytes under a locked version are refused; a mod is shown without being run."""
    write(tmp_path, NETWORK + "dev: {indexes: [mods-index], packages: none}\n")
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0")
    assert oa_dev(tmp_path, "add", "polls", "--yes").returncode == 0
    make_mod_wheel(tmp_path / "mods-index", "polls", "1.0", "OTHER = 1\n")
    shutil.rmtree(tmp_path / ".oa-dev" / "env")
    ((command, shown),) = commands("guides/team-index.md").items()
    follow(tmp_path, command, shown)
    shutil.rmtree(tmp_path / "mods-index")
    ((command, shown),) = commands("explanation/trust.md").items()
    follow(tmp_path, command, shown)
