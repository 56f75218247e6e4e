"""Undo of a promotion that a command has written to network.yaml: the files become what they were, byte for byte.

The last such promotion is kept in `.oa-dev`, for the run in which it happened. A file that was edited since is not
written over.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devserver.cli.client import Client
from devserver.cli.exits import Exit, Problem
from devserver.cli.following import Followed
from devserver.cli.output import say, say_json, show, view
from devserver.cli.remote import PROMOTED, carried_out
from devserver.market.folder import alone
from devserver.market.lock import NAME as LOCK
from devserver.market.sync import Files
from devserver.model.names import mod_id_of
from devserver.model.split import main_of
from devserver.server.runfile import read_private, remove_private, write_private
from devserver.transports.strict import Malformed, parse_object
from devserver.ui.plan_lines import became

_LIMIT = 16 * 1024 * 1024


def keep(workspace: Path, line: str, before: Mapping[Path, bytes | None]) -> None:
    """Remember the files before a promotion of a line (by its path). Call it when a server has taken the new ones."""
    followed = Followed.begin(workspace)
    if followed is None:
        return
    files = {path.name: [_text(data), _text(_bytes(path))] for path, data in before.items()}
    values = {"line": line, "files": files, "run": _run(followed.server, line), "next": followed.number}
    write_private(workspace, PROMOTED, json.dumps(values))


def undo(workspace: Path, server: Client, mods: tuple[str, ...], *, as_json: bool) -> int | None:
    """Undo the promotion that was written last; None if an undo of these mods (of the latest
    change) is another one. Raises Problem if a file was edited since."""
    kept = _kept(workspace)
    if kept is None or kept["run"] != _run(server, kept["line"]):
        return None
    line, main = kept["line"], main_of(kept["line"])
    latest = server.reloads()["next"] == kept["next"]
    if not ({main, mod_id_of(main)} & set(mods) if mods else latest):
        return None
    files = {workspace / name: texts for name, texts in kept["files"].items()}
    edited = next((path.name for path, (_, after) in files.items() if _text(_bytes(path)) != after), "")
    problem = Problem(f"{edited} was edited since {line} was promoted, and is left alone", _to_write(files), Exit.FATAL)
    if LOCK in kept["files"]:
        if edited:
            raise problem
        return _followed_back(workspace, line, files, as_json=as_json)
    # The code of the line is that of the mod on disk: the server has what ran before.
    code = carried_out(server.post("undo", {"mods": list(mods or (main,))}), as_json=as_json)
    if code == Exit.CLEAN and edited:
        raise problem
    if code == Exit.CLEAN:
        for path, (before, _) in files.items():
            Files().write(path, _data(before))
        remove_private(workspace, PROMOTED)
    return code


def _kept(workspace: Path) -> dict[str, Any] | None:
    """Return what `keep` has written; None for a damaged file, too."""
    try:
        values = parse_object(read_private(workspace, PROMOTED, _LIMIT) or b"")
    except Malformed:
        return None
    return values if values.keys() >= {"line", "files", "run", "next"} else None


def _followed_back(workspace: Path, line: str, files: Mapping[Path, list[str | None]], *, as_json: bool) -> int:
    """Write the files of before, and wait until the server runs what they say."""
    followed, written = Followed.begin(workspace), Files()
    with alone(workspace):
        # The lock first: the line of network.yaml needs it.
        for path in sorted(files, key=lambda each: each.name != LOCK):
            written.write(path, _data(files[path][0]))
        done = followed.wait((main_of(line), line)) if followed is not None else None
        if done is not None and not done.good:
            written.put_back()
    good = done is None or done.good
    names = ", ".join(path.name for path in files)
    said = f"{names} as before the promotion of {line}" if good else f"{names}: the promotion of {line} stays"
    if as_json:
        say_json({"success": good, "message": said, "done": list(done.rows) if done is not None else []})
        return Exit.CLEAN if good else Exit.FATAL
    for each in done.plans if done is not None else ():
        show(became(each, view()))
    say(said)
    if good:
        remove_private(workspace, PROMOTED)
    return Exit.CLEAN if good else Exit.FATAL


def _to_write(files: Mapping[Path, list[str | None]]) -> str:
    """Return which lines of network.yaml a person changes to go back, and the command after it."""
    changes = []
    for path, (before, after) in files.items():
        if path.name != LOCK:
            rows = difflib.unified_diff((after or "").splitlines(), (before or "").splitlines(), n=0, lineterm="")
            changes += [each for each in rows if not each.startswith(("---", "+++", "@@"))]
    return f"to go back, change {' '.join(' '.join(each.split()) for each in changes)}; then oa-dev sync"


def _run(server: Client, line: str) -> list[Any]:
    """Return what is other after the next change of the mod of a line, or in another run."""
    status = server.status()
    rows = {each["mod_path"]: each["generation"] for each in status["mods"]}
    return [status["pid"], rows.get(main_of(line))]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _data(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "surrogateescape")
