"""Makes wheels for tests, byte by byte, so that a test can also make one that no tool would."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping

MOD = '''
"""A mod for tests."""

from devserver import BaseMod, EventResponse, mod_event_handler


class ExtrasMod(BaseMod):
    """Answers one event."""

    @mod_event_handler("extras.ask")
    def ask(self, event):
        return EventResponse(True, "answered")
'''
"""The source of a small mod."""


def wheel_file(name: str, version: str) -> str:
    """The file name of a wheel for every Python."""
    return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


def wheel(
    name: str = "extras",
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    *,
    requires: Iterable[str] = (),
    mods: Iterable[str] | None = None,
    record: Mapping[str, str] | None = None,
    entries: Iterable[tuple[zipfile.ZipInfo | str, bytes]] = (),
    headers: str = "",
) -> bytes:
    """The bytes of a wheel. `record` replaces hashes in its RECORD; `entries` are put in beside, and not listed."""
    top = name.replace("-", "_")
    files = {f"{top}/__init__.py": "", f"{top}/mod.py": MOD} if files is None else files
    mods = [top] if mods is None else list(mods)
    information = f"{top}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    written = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{headers}{needs}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/entry_points.txt": "[openagents.mods]\n" + "".join(f"{each} = {each}\n" for each in mods),
    }
    if not mods:
        del written[f"{information}/entry_points.txt"]
    hashes = {each: _hash(text.encode()) for each, text in written.items()} | dict(record or {})
    rows = [f"{each},{found},{len(written.get(each, ''))}" for each, found in hashes.items() if found]
    written[f"{information}/RECORD"] = "\n".join([*rows, f"{information}/RECORD,,", ""])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each, text in written.items():
            archive.writestr(zipfile.ZipInfo(each, (2020, 1, 1, 0, 0, 0)), text)
        for entry, content in entries:
            archive.writestr(entry, content)
    return out.getvalue()


def _hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
