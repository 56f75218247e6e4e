"""Wheels that a test makes, and folders of packages as `oa-dev sync` leaves them, made without uv."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent

from devserver.market import folder as packages
from devserver.market.lock import NAME, Facts, read_lock, written

MOD = """
from devserver import BaseMod, EventResponse, mod_event_handler


class {title}(BaseMod):
    version = "{version}"

    @mod_event_handler("{name}.ask")
    async def ask(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return EventResponse(True, "asked", {{"version": "{version}", "asked": self.state["asked"]}})
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
    metadata: str = "",
) -> Path:
    """A wheel of these files, with entry points for these paths of mods."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    contents = {path: dedent(text) for path, text in files.items()}
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}{needs}"
    contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if mods:
        points = "".join(f"{each} = {each}\n" for each in mods)
        contents[f"{info}/entry_points.txt"] = f"[openagents.mods]\n{points}"
    rows = [f"{path},sha256={_hash(text)},{len(text.encode())}" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    wheel = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in contents.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
    return wheel


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def make_mod_wheel(folder: Path, name: str, version: str, source: str | None = None, **more: Iterable[str]) -> Path:
    """A wheel with one mod, which is a package: `polls` of the distribution `polls`."""
    text = mod_source(name, version) if source is None else source
    return make_wheel(folder, name.replace("_", "-"), version, {f"{name}/__init__.py": text}, mods=[name], **more)


def lock(workspace: Path, *wheels: Path) -> None:
    """Lock these wheels, which lie in the workspace, and install them, as `oa-dev sync` does."""
    rows = ['lock-version = "1.0"', 'created-by = "uv"', 'requires-python = ">=3.11"']
    mods: dict[str, str] = {}
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        sha = hashlib.sha256(wheel.read_bytes()).hexdigest()
        rows += ["", "[[packages]]", f'name = "{name.replace("_", "-")}"', f'version = "{version}"']
        rows.append(f'wheels = [{{ url = "{wheel.resolve().as_uri()}", hashes = {{ sha256 = "{sha}" }} }}]')

    def fill(folder: Path) -> None:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        mods.update(packages.mods_in(folder))

    resolved = "\n".join((*rows, ""))
    if not wheels:
        resolved += "packages = []\n"
    found = read_lock(written(resolved, Facts(), workspace).encode())
    folder = packages.build(workspace, found, fill)
    mods.update(packages.mods_in(folder))
    data = written(resolved, Facts(mods), workspace).encode()
    packages.write_record(folder, read_lock(data), data)
    packages.write_whole(workspace / NAME, data)
