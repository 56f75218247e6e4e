"""The lock: what uv has resolved with paths beside it and a table of ours; read back it says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.market.lock import (
    BadLock,
    Facts,
    absolute,
    changed_contents,
    digest,
    read_lock,
    without_facts,
    written,
)

ONE, TWO = "1" * 64, "2" * 64


def resolved(workspace: Path, sha: str = ONE) -> str:
    """A lock as uv writes it."""
    wheel = (workspace / "mods-index" / "wiki_extras-1.5.0-py3-none-any.whl").as_uri()
    return f"""lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"

[[packages]]
name = "colour"
version = "1.0"
marker = "sys_platform == 'never'"
wheels = [{{ url = "https://index.test/colour-1.0-py3-none-any.whl", hashes = {{ sha256 = "{TWO}" }} }}]

[[packages]]
name = "wiki-extras"
version = "1.5.0"
wheels = [{{ url = "{wheel}", hashes = {{ sha256 = "{sha}" }} }}]

# The following packages were excluded from the output:
# oa-dev-itself
"""


FACTS = Facts(
    {"wiki_extras": "wiki-extras"},
    "9f3c",
    {"pydantic": "2.14.4"},
    {"wiki-extras": "git+file:///srv/wiki@abc"},
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Packages, hashes and every fact of ours; files beside the lock by their path."""
    found = read_lock(written(resolved(tmp_path), FACTS, tmp_path).encode())
    assert found.facts == FACTS
    assert [(each.name, each.version, each.hashes, each.here) for each in found.packages] == [
        ("colour", "1.0", (TWO,), False),
        ("wiki-extras", "1.5.0", (ONE,), True),
    ]
    assert found.packages[1].where == "mods-index/wiki_extras-1.5.0-py3-none-any.whl"


def test_a_lock_names_no_place_of_this_machine(tmp_path: Path) -> None:
    """A wheel elsewhere cannot be locked: a clone of the workspace would not have it."""
    with pytest.raises(BadLock, match="outside of the workspace"):
        written(resolved(tmp_path / "elsewhere"), FACTS, tmp_path / "workspace")


def test_a_lock_for_uv_names_files_as_uv_wrote_them(tmp_path: Path) -> None:
    """uv takes a lock from any folder: paths are whole again, our table is left out."""
    text = written(resolved(tmp_path), FACTS, tmp_path)
    assert (tmp_path / "mods-index" / "wiki_extras-1.5.0-py3-none-any.whl").as_uri() in absolute(text, tmp_path)
    assert "oa-dev" not in without_facts(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lock-version = 1", "lock-version"),
        ("[[", "cannot be used"),
        (
            'lock-version = "1.0"\ncreated-by = "uv"\n[[packages]]\nname = "a"\nversion = "1"\n'
            f'sdist = {{ path = "a-1.tar.gz", hashes = {{ sha256 = "{ONE}" }} }}\n',
            "has no wheel",
        ),
        (
            'lock-version = "1.0"\ncreated-by = "uv"\n[[packages]]\nname = "a"\nversion = "1"\n'
            f'wheels = [{{ path = "../a-1-py3-none-any.whl", hashes = {{ sha256 = "{ONE}" }} }}]\n',
            "outside of the workspace",
        ),
        ('lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n[tool.oa-dev]\nmods = { a = 1 }\n', "tool.oa-dev"),
    ],
)
def test_a_lock_that_cannot_be_used_is_refused(text: str, says: str) -> None:
    """No TOML, no lock, no hashes, places outside of the workspace, or a table of ours with other things in it."""
    with pytest.raises(BadLock, match=says):
        read_lock(text.encode())


def test_the_folder_depends_on_what_is_installed_here(tmp_path: Path) -> None:
    """Other bytes have another folder; what belongs to another platform has no part in it."""
    first, second = (read_lock(written(resolved(tmp_path, sha), FACTS, tmp_path).encode()) for sha in (ONE, TWO))
    assert digest(first.here) != digest(second.here)
    assert digest(first.here) == digest([each for each in first.packages if each.name == "wiki-extras"])


def test_other_bytes_under_the_same_version_are_noticed(tmp_path: Path) -> None:
    """An index that has changed a file has not published a version."""
    first, second = (read_lock(written(resolved(tmp_path, sha), FACTS, tmp_path).encode()) for sha in (ONE, TWO))
    assert [(old.name, old.hashes, new.hashes) for old, new in changed_contents(first, second)] == [
        ("wiki-extras", (ONE,), (TWO,))
    ]
