"""Packages are read as data, and archives that break a rule are refused by its name."""

from __future__ import annotations

import hashlib
import stat
import sys
import zipfile

import pytest
from wheels import wheel, wheel_file

from devserver.market import package as packages
from devserver.market.package import PackageRefused, read_folder, read_package, refuse_shadowing, wheel_of

NAME = wheel_file("extras", "1.0")

_seen: list[str] = []
sys.addaudithook(lambda event, given: _seen.append(f"{given[0]}") if event in ("import", "exec") else None)


@pytest.fixture(autouse=True)
def nothing_is_imported():
    """Whatever a wheel holds, and however it is refused: an audit hook counts no import and no execution of it."""
    _seen.clear()
    yield
    assert [each for each in _seen if "extras" in each or "evil" in each] == []


def entry(name: str, *, mode: int = 0) -> zipfile.ZipInfo:
    """An entry of an archive with a name that need not be fit for one."""
    made = zipfile.ZipInfo("x")
    made.filename = name
    made.external_attr = mode << 16
    return made


def refused(data: bytes, name: str = NAME) -> tuple[str, str]:
    """The rule by which a wheel is refused, and the sentence."""
    with pytest.raises(PackageRefused) as caught:
        wheel_of(data, name)
    return caught.value.rule, str(caught.value)


def test_a_wheel_says_what_it_is():
    """Name, version, mods, needs, licence, and the digest of its bytes."""
    data = wheel(requires=["idna>=3"], headers="Summary: Tags\nLicense-Expression: MIT\nRequires-Python: >=3.11\n")
    found = wheel_of(data, NAME)

    assert (found.name, found.version, found.mods) == ("extras", "1.0", ("extras",))
    assert (found.requires, found.summary, found.license) == (("idna>=3",), "Tags", "MIT")
    assert (found.sha256, found.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert found.tops == {"extras"}
    assert set(found.files) == {"extras/__init__.py", "extras/mod.py"}


def test_a_folder_is_read_as_the_package_that_it_becomes(tmp_path):
    """Its sources lie in src; caches and hidden files are no part of it."""
    project = tmp_path / "extras"
    (project / "src/extras/__pycache__").mkdir(parents=True)
    (project / "src/extras/mod.py").write_text("x = 1\n")
    (project / "src/extras/__pycache__/mod.pyc").write_bytes(b"x")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "extras"\nversion = "2.0"\ndependencies = ["idna"]\n'
        '[project.entry-points."openagents.mods"]\nextras = "extras"\n'
    )
    found = read_package(project)

    assert (found.name, found.version, found.mods, found.requires) == ("extras", "2.0", ("extras",), ("idna",))
    assert set(found.files) == {"extras/mod.py"}


def test_a_mod_that_is_only_a_folder_is_read_too(tmp_path):
    """It goes by the name of its folder."""
    (tmp_path / "polls").mkdir()
    (tmp_path / "polls/mod.py").write_text("x = 1\n")

    assert set(read_folder(tmp_path / "polls").files) == {"polls/mod.py"}


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("escapes", "../evil.py"),
        ("escapes", "/etc/evil.py"),
        ("escapes", "extras/../../evil.py"),
        ("escapes", "C:/evil.py"),
        ("bad_name", "extras//evil.py"),
        ("bad_name", "./extras/evil.py"),
        ("bad_name", "extras\\evil.py"),
        ("twice", "extras/MOD.py"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(rule, name):
    """Also those that a system could take for another file of the same archive."""
    assert refused(wheel(entries=[(entry(name), b"")]))[0] == rule


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600, stat.S_IFCHR | 0o600])
def test_links_and_special_files_are_refused(mode):
    """A link could lead out of the folder once it is there."""
    assert refused(wheel(entries=[(entry("extras/link", mode=mode), b"/etc/passwd")]))[0] == "link"


def test_an_archive_that_would_be_huge_is_refused_before_it_is_unpacked(monkeypatch):
    """By what it says of its sizes; what an entry holds beyond that is never read."""
    monkeypatch.setattr(packages, "MOST_BYTES", 1000)
    packed = entry("extras/zeros")
    packed.compress_type = zipfile.ZIP_DEFLATED
    rule, sentence = refused(wheel(entries=[(packed, b"0" * 1_000_000)]))

    assert rule == "too_large"
    assert "unpacks to more than" in sentence


def test_an_archive_of_too_many_entries_is_refused(monkeypatch):
    """Each of them costs a look."""
    monkeypatch.setattr(packages, "MOST_ENTRIES", 4)
    assert refused(wheel())[0] == "too_many"


def test_an_entry_that_lies_about_its_size_is_refused():
    """It is no archive then; and not more is read than it says."""
    data = wheel(entries=[("extras/zeros", b"0" * 10_000)])
    at = data.rindex(b"extras/zeros") - 46 + 24
    assert refused(data[:at] + (5).to_bytes(4, "little") + data[at + 4 :])[0] in ("no_archive", "no_record")


def test_what_the_record_does_not_list_is_refused():
    """A file that was put into a wheel later, and one that was changed in it."""
    assert refused(wheel(entries=[("extras/late.py", b"")])) == (
        "no_record",
        "its file 'extras/late.py' is not in its RECORD",
    )
    rule, sentence = refused(wheel(record={"extras/mod.py": "sha256=" + "A" * 43}))
    assert (rule, sentence) == ("other_bytes", "its file 'extras/mod.py' is not the one that its RECORD lists")


@pytest.mark.parametrize("data", [b"", b"<html>", b"PK\x03\x04" + b"x" * 100])
def test_what_is_no_archive_is_said(data):
    """Also a page of HTML, which an index that is down may answer."""
    rule, sentence = refused(data)
    assert rule == "no_archive"
    assert sentence.startswith(f"{NAME} cannot be read as an archive")


def test_a_damaged_archive_is_no_archive():
    """Whichever byte is another one, nothing but a refusal comes of it."""
    data = wheel()
    for at in range(0, len(data), 7):
        try:
            wheel_of(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :], NAME)
        except PackageRefused:
            continue


def test_a_source_distribution_is_no_wheel():
    """Only wheels are installed."""
    assert refused(wheel(), "extras-1.0.tar.gz") == (
        "no_wheel",
        "extras-1.0.tar.gz is not a wheel: only wheels are installed",
    )


def test_a_wheel_of_another_name_is_refused():
    """What the index calls it has to be what it says of itself."""
    assert refused(wheel(), wheel_file("other", "1.0"))[1] == ("other-1.0-py3-none-any.whl calls itself extras 1.0")


def test_an_entry_point_without_its_mod_is_refused():
    """The name would load something else."""
    assert refused(wheel(mods=["yaml"]))[0] == "no_mod"


@pytest.mark.parametrize(
    ("top", "reason"),
    [
        ("devserver", "oa-dev itself is"),
        ("mods", "is where mods of the workspace lie"),
        ("json", "is of Python itself"),
        ("yaml", "oa-dev itself uses"),
    ],
)
def test_top_names_that_are_taken_are_refused(top, reason):
    """However they come in: as a package, as a module, beside the packages, as machine code."""
    for name in (f"{top}/__init__.py", f"{top}.py", f"extras-1.0.data/purelib/{top}/x.py", f"{top}.cpython-311.so"):
        found = wheel_of(wheel(files={name: "", "extras/mod.py": ""}, mods=["extras"]), NAME)
        with pytest.raises(PackageRefused, match=f"would shadow {top}, which {reason}") as caught:
            refuse_shadowing(found, {"yaml": "oa-dev itself uses"})
        assert caught.value.rule == "shadows"


def test_what_would_run_at_its_import_is_read_all_the_same():
    """It is data here."""
    found = wheel_of(wheel(files={"extras/mod.py": "raise SystemExit", "extras/__init__.py": "1/0"}), NAME)
    refuse_shadowing(found, {})
    assert found.files["extras/mod.py"] == b"raise SystemExit"
