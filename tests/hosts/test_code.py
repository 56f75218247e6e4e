"""Code travels by digest: what belongs to a mod, and what is refused on arrival."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from devserver.hosts import move
from devserver.hosts.code import MOST_BYTES, BadCode, Copies, Publisher, environment_of, files_of
from devserver.hosts.link import Message
from devserver.hosts.names import CODE, Names
from devserver.model.encoding import to_json

NAMES = Names("demo")


class Kept:
    """A link to an engine that keeps these values."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    async def last_value(self, stream: str, subject: str) -> Message | None:
        data = self.values.get(subject)
        return None if data is None else Message(subject, data, {})


def published(files: dict[str, bytes], environment: str | None = None, **digests: str) -> Kept:
    """Revision 1 with these files; `digests` stand in the manifest instead of theirs."""
    told = {path: digests.get(path.partition(".")[0], sha256(data).hexdigest()) for path, data in files.items()}
    manifest = {"files": told, "environment": environment or environment_of(None)}
    values = {NAMES.key(CODE, "revision", "1"): to_json(manifest)}
    values |= {
        NAMES.key(CODE, "blob", digest): data for digest, data in zip(told.values(), files.values(), strict=True)
    }
    return Kept(values)


def copies(kept: Kept, folder: Path) -> Copies:
    link: Any = kept
    return Copies(link, NAMES, folder)


def write(folder: Path, path: str, text: str = "") -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_what_belongs_to_a_mod_is_what_its_imports_lead_to(tmp_path: Path) -> None:
    """Modules through imports, data beside them; no other mod, nothing hidden, written or large."""
    write(tmp_path, "mods/wiki/mod.py", "from mods.lib import text\nimport json\n")
    for path in ("mods/wiki/__init__.py", "mods/lib/text.py", "mods/lib/words.txt", "mods/wiki/prompts/a.txt"):
        write(tmp_path, path, "# x")
    for path in ("mods/other/mod.py", "mods/wiki/.env", "mods/wiki/state.db", "mods/wiki/big.bin", "notes.txt"):
        write(tmp_path, path, "x")
    (tmp_path / "mods/wiki/big.bin").write_bytes(b"x" * (MOST_BYTES + 1))
    found = files_of(["mods.wiki"], tmp_path, {str(tmp_path / "mods/wiki/state.db")})
    assert sorted(found) == [
        "mods/lib/text.py",
        "mods/lib/words.txt",
        "mods/wiki/__init__.py",
        "mods/wiki/mod.py",
        "mods/wiki/prompts/a.txt",
    ]


async def test_files_of_a_revision_come_and_go(tmp_path: Path) -> None:
    """What differs is written, what the next revision has no more is taken away, data of mods stays. What comes along
    with the ask is not asked for: it may be published a moment later."""
    here = copies(published({"mods/a.py": b"1", "mods/b.py": b"2"}), tmp_path)
    assert set(await here.fetch(1)) == {tmp_path / "mods/a.py", tmp_path / "mods/b.py"}
    write(tmp_path, "mods/own.db", "data of a mod")
    again = copies(published({"mods/a.py": b"1"}), tmp_path)
    assert await again.fetch(1) == {tmp_path / "mods/b.py": None}
    kept: Any = None
    along = Publisher(kept, NAMES).revision({"mods/a.py": b"3"}).along()
    assert await again.fetch(2, along) == {tmp_path / "mods/a.py": sha256(b"3").hexdigest()}
    assert (tmp_path / "mods/a.py").read_bytes() == b"3"
    assert sorted(each.name for each in (tmp_path / "mods").iterdir()) == ["a.py", "own.db"]


@pytest.mark.parametrize("path", ["../x.py", "/etc/x", "mods/../../x", "mods/.git/x", "a\\b", "", "mods//x"])
async def test_a_path_that_leads_elsewhere_is_refused(path: str, tmp_path: Path) -> None:
    """Nothing is written outside of the folder, and nothing hidden in it."""
    with pytest.raises(BadCode):
        await copies(published({path: b"1"}), tmp_path / "in").fetch(1)
    assert not (tmp_path / "in").exists()


async def test_what_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    """A wrong digest, a missing blob, another environment: with the name of the file, or both digests."""
    wrong = published({"a.py": b"evil"}, a="0" * 64)
    with pytest.raises(BadCode, match=r"a\.py is not what was published"):
        await copies(wrong, tmp_path).fetch(1)
    missing = published({"a.py": b"1"})
    del missing.values[next(key for key in missing.values if sha256(b"1").hexdigest() in _plain(key))]
    with pytest.raises(BadCode, match=r"a\.py is missing"):
        await copies(missing, tmp_path).fetch(1)
    for sent in ("ZXZpbA==", "no base64"):
        along = {"files": {"a.py": "0" * 64}, "environment": environment_of(None), "new": {"0" * 64: sent}}
        with pytest.raises(BadCode, match=r"a\.py is not what was published"):
            await copies(missing, tmp_path).fetch(1, along)
    with pytest.raises(BadCode, match=f"has the environment {environment_of(None)}, the code is of other"):
        await copies(published({"a.py": b"1"}, environment="other"), tmp_path).fetch(1)
    assert is_empty(tmp_path)


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


def _plain(subject: str) -> str:
    return " ".join(NAMES.ids(CODE, subject))


class Evil:
    """What a host that is not to be trusted would send as a state."""

    def __reduce__(self) -> Any:
        return (print, ("it ran",))


def test_a_state_from_another_host_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain values come, and classes of the mod; a name of anything else is refused."""
    plain = {"a": [1, 2.0, b"x", None, (True,)], "b": OrderedDict(c={3})}
    assert move._read(pickle.dumps(plain), {"mods"}) == plain
    with pytest.raises(pickle.UnpicklingError, match="print is not a class of the mod"):
        move._read(pickle.dumps(Evil()), {"mods"})
    assert capsys.readouterr().out == ""
