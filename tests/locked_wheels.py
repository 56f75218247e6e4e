"""Wheels that a test makes, and folders of packages as `oa-dev sync` leaves them, made without uv."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent

from wheels import wheel, wheel_file

from devserver.market import folder as packages
from devserver.market.lock import NAME, Facts, LockedLine, read_lock, written

MOD = """
from devserver import BaseMod, EventResponse, mod_event_handler


class {title}(BaseMod):
    version = "{version}"

    @mod_event_handler("{name}.ask")
    async def ask(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return EventResponse(True, "asked", {{"version": "{version}", "asked": self.state["asked"]}})
"""

LAZY = """
from devserver import BaseMod, EventResponse, mod_event_handler
from polls import words

VERSION = "{version}"


class Polls(BaseMod):
    version = VERSION

    @mod_event_handler("polls.ask")
    async def ask(self, event):
        from polls import later

        self.state["asked"] = self.state.get("asked", 0) + 1
        return EventResponse(True, "asked", {{"versions": [VERSION, words.VERSION, later.VERSION]}})
"""


def mod_source(name: str, version: str) -> str:
    """The source of a mod that answers `<name>.ask` with its version, and with how often it was asked."""
    return MOD.format(title=name.title().replace("_", ""), name=name, version=version)


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    requires: Iterable[str] = (),
    mods: Iterable[str] = (),
) -> Path:
    """A wheel of these files, with entry points for these paths of mods."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheel_file(name, version)
    texts = {each: dedent(text) for each, text in files.items()}
    path.write_bytes(wheel(name, version, texts, requires=requires, mods=mods))
    return path


def make_mod_wheel(folder: Path, name: str, version: str, source: str | None = None, **more: Iterable[str]) -> Path:
    """A wheel with one mod, which is a package: `polls` of the distribution `polls`."""
    text = mod_source(name, version) if source is None else source
    return make_wheel(folder, name.replace("_", "-"), version, {f"{name}/__init__.py": text}, mods=[name], **more)


def make_lazy_wheel(folder: Path, version: str, source: str = "") -> Path:
    """A wheel of the mod polls in three modules, one of which is imported late; it answers with the version of each."""
    words = f"VERSION = {version!r}\n"
    text = source or LAZY.format(version=version)
    files = {"polls/__init__.py": "", "polls/mod.py": text, "polls/words.py": words, "polls/later.py": words}
    return make_wheel(folder, "polls", version, files, mods=["polls"])


def _line(workspace: Path, name: str, wheel_of: Path) -> LockedLine:
    distribution, version = wheel_of.name.split("-")[:2]
    sha = hashlib.sha256(wheel_of.read_bytes()).hexdigest()
    place = wheel_of.resolve().relative_to(workspace.resolve()).as_posix()
    return LockedLine(line=name, name=distribution.replace("_", "-"), version=version, where=place, sha256=sha)


def lock(workspace: Path, *wheels: Path, lines: Mapping[str, Path] | None = None) -> None:
    """Lock these wheels, which lie in the workspace, and install them, as `oa-dev sync` does.

    `lines` are versions of mods beside the others, as in `{"polls@2": wheel}`.
    """
    beside = tuple(_line(workspace, name, each) for name, each in (lines or {}).items())
    rows = ['lock-version = "1.0"', 'created-by = "uv"', 'requires-python = ">=3.11"']
    mods: dict[str, str] = {}
    for each in wheels:
        name, version = each.name.split("-")[:2]
        sha = hashlib.sha256(each.read_bytes()).hexdigest()
        rows += ["", "[[packages]]", f'name = "{name.replace("_", "-")}"', f'version = "{version}"']
        rows.append(f'wheels = [{{ url = "{each.resolve().as_uri()}", hashes = {{ sha256 = "{sha}" }} }}]')

    def fill(folder: Path) -> None:
        for each in wheels:
            with zipfile.ZipFile(each) as archive:
                archive.extractall(folder)
        for name, each in (lines or {}).items():
            with zipfile.ZipFile(each) as archive:
                archive.extractall(packages.line_folder(folder, name))
        mods.update(packages.mods_in(folder))

    resolved = "\n".join((*rows, ""))
    if not wheels:
        resolved += "packages = []\n"
    found = read_lock(written(resolved, Facts(lines=beside), workspace).encode())
    folder = packages.build(workspace, found, fill)
    mods.update(packages.mods_in(folder))
    data = written(resolved, Facts(mods, lines=beside), workspace).encode()
    packages.write_record(folder, read_lock(data), data)
    packages.write_whole(workspace / NAME, data)
