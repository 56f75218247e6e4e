"""Reads a package as data, a wheel or a folder of sources: its files and its description.

Nothing of it is extracted, imported or executed. A wheel that breaks one of the rules for archives
is refused by that rule, before any other reader sees it. `review` reads its sources.
"""

from __future__ import annotations

import configparser
import csv
import hashlib
import io
import re
import stat
import sys
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from devserver.config.regular import NotRegular, TooLarge, read_regular
from devserver.errors import DevServerError
from devserver.market.folder import GROUP, info_of, record_hash
from devserver.model.names import normal

MOST_ENTRIES = 10_000
MOST_BYTES = 100 * 1024 * 1024
LONGEST = 200
"""The most characters of a text in a package."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WHEEL_NAME = re.compile(r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9._!+]+)(-\d\w*)?-[\w.]+-[\w.]+-[\w.]+\.whl")
_NATIVE = (".so", ".pyd", ".dylib", ".dll")
_TOP = re.compile(r"[A-Za-z_]\w*")
_INSTALLED_BESIDE = ("purelib", "platlib", "data")
_LEFT_OUT = ("__pycache__", "node_modules")
_LEFT_OUT_AT_THE_TOP = ("dist", "build", "tests", "venv", "pyproject.toml")


class PackageRefused(DevServerError):
    """A package that must not be installed, or cannot be read. `rule`: what it breaks, in code."""

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(sentence)
        self.rule = rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package as data. `files` maps paths, as they would lie in the folder of packages, to bytes.

    `mods` are paths of mods as network.yaml names them; `requires` are requirements as PEP 508
    writes them. `sha256`, `size` and `file`, its name, are those of the wheel; empty and 0 for a
    folder.
    """

    name: str
    version: str
    files: Mapping[str, bytes] = field(repr=False)
    mods: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    summary: str = ""
    license: str = ""
    homepage: str = ""
    keywords: tuple[str, ...] = ()
    requires_python: str = ""
    sha256: str = ""
    size: int = 0
    file: str = ""

    @property
    def tops(self) -> frozenset[str]:
        """The top modules and packages that it brings."""
        found = (_top_of(name) for name in self.files)
        return frozenset(each for each in found if each)

    @property
    def native(self) -> tuple[str, ...]:
        """Its files of machine code."""
        return tuple(name for name in self.files if name.endswith(_NATIVE) or ".so." in name)


def read_package(path: Path) -> Package:
    """Read a wheel, or the folder of a package or of a mod. Raises PackageRefused."""
    return read_folder(path) if path.is_dir() else read_wheel(path)


def read_wheel(path: Path) -> Package:
    """Read a wheel from a file. Raises PackageRefused."""
    try:
        data = read_regular(path, MOST_BYTES)
    except NotRegular as error:
        _refuse("unreadable", f"{path.name} is {error.kind} and no file")
    except TooLarge:
        _refuse("too_large", f"{path.name} has more than {_mib(MOST_BYTES)}")
    except OSError as error:
        _refuse("unreadable", f"{path.name} cannot be read: {error.strerror}")
    if data is None:
        _refuse("unreadable", f"there is no {path.name}")
    return wheel_of(data, path.name)


def wheel_of(data: bytes, file_name: str) -> Package:
    """Read a wheel from its bytes; `file_name` is its name in its index. Raises PackageRefused."""
    named = _WHEEL_NAME.fullmatch(file_name)
    if named is None:
        _refuse("no_wheel", f"{file_name[:LONGEST]} is not a wheel: only wheels are installed")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = _read(archive)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:
        _refuse("no_archive", f"{file_name} cannot be read as an archive: {str(error)[:LONGEST]}")
    information = _information(files)
    _refuse_other_bytes(files, f"{information}/RECORD")
    said = _metadata(files[f"{information}/METADATA"])
    if normal(said["name"]) != normal(named["name"]) or said["version"] != named["version"]:
        _refuse("other_name", f"{file_name} calls itself {said['name']} {said['version']}")
    mods = _entry_points(files.get(f"{information}/entry_points.txt", b""))
    shown = {_installed_as(name): content for name, content in files.items() if not name.startswith(f"{information}/")}
    for mod in mods:
        base = mod.replace(".", "/")
        if not any(f"{base}{end}" in shown for end in ("/mod.py", "/__init__.py", ".py")):
            _refuse("no_mod", f"its entry point names the mod {mod[:LONGEST]}, which is not in it")
    digest = hashlib.sha256(data).hexdigest()
    return Package(**said, files=shown, mods=mods, sha256=digest, size=len(data), file=file_name)


def read_folder(folder: Path) -> Package:
    """Read the sources of a package beside its pyproject.toml, or a folder that is a mod. Raises PackageRefused."""
    project = folder / "pyproject.toml"
    try:
        text = read_regular(project, 1024 * 1024)
        values = tomllib.loads(text.decode()) if text is not None else {}
    except (OSError, ValueError) as error:
        _refuse("unreadable", f"{project.name} of {folder.name} cannot be read: {str(error)[:LONGEST]}")
    found = values.get("project")
    said: Mapping[str, Any] = found if isinstance(found, dict) else {}
    name = _text(said, "name") or folder.name
    source = folder / "src" if (folder / "src").is_dir() else None
    files = dict(_files_below(source or folder, "" if source else f"{folder.name}/"))
    points = said.get("entry-points", {})
    mods = points.get(GROUP, {}) if isinstance(points, dict) else {}
    links = said.get("urls")
    return Package(
        name=name,
        version=_text(said, "version") or "0",
        files=files,
        mods=tuple(str(each).partition(":")[0] for each in mods.values()) if isinstance(mods, dict) else (),
        requires=_texts(said, "dependencies"),
        summary=_text(said, "description"),
        license=_text(said, "license"),
        homepage=next((str(each) for each in links.values()), "")[:LONGEST] if isinstance(links, dict) else "",
        keywords=_texts(said, "keywords"),
        requires_python=_text(said, "requires-python"),
    )


def installed_package(folder: Path, name: str) -> Package:
    """Read an installed package in a folder, by its list of files. Raises PackageRefused.

    Files that it installs elsewhere, as scripts, are left out; its wheel is not known here.
    """
    info = info_of(folder, name)
    if info is None:
        _refuse("no_wheel", f"{name} is not installed in {folder.name}")
    files: dict[str, bytes] = {}
    size = 0
    for row in csv.reader((info / "RECORD").read_text(encoding="utf-8", errors="replace").splitlines()):
        path = row[0] if row else ""
        if not path or ".." in PurePosixPath(path).parts or path.startswith(f"{info.name}/"):
            continue
        file = folder / path
        if file.is_symlink() or not file.is_file():
            continue
        size += file.stat().st_size
        if len(files) >= MOST_ENTRIES or size > MOST_BYTES:
            _refuse("too_large", f"{name} has more than {MOST_ENTRIES} files or {_mib(MOST_BYTES)}")
        files[path] = file.read_bytes()
    points = info / "entry_points.txt"
    mods = _entry_points(points.read_bytes()) if points.is_file() else ()
    return Package(**_metadata((info / "METADATA").read_bytes()), files=files, mods=mods)


def refuse_shadowing(package: Package, taken: Mapping[str, str]) -> None:
    """Raise PackageRefused for a top name that is `taken`: by an owner, as in `oa-dev itself uses`.

    The names of Python's own modules and of this server are always taken, so is `mods`.
    """
    always = dict.fromkeys(sys.stdlib_module_names, "is of Python itself")
    always |= {"devserver": "oa-dev itself is", "mods": "is where mods of the workspace lie"}
    for top in sorted(package.tops):
        reason = always.get(top) or taken.get(top)
        if reason is not None:
            _refuse("shadows", f"{package.name} {package.version} would shadow {top}, which {reason}")


# The rules for archives


def _read(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        _refuse("too_many", f"it has {len(entries):,} entries, more than the {MOST_ENTRIES:,} that are read")
    # The sizes in the archive; no entry yields more than it declares.
    if sum(each.file_size for each in entries) > MOST_BYTES:
        _refuse("too_large", f"it unpacks to more than {_mib(MOST_BYTES)}")
    seen: set[str] = set()
    for each in entries:
        _refuse_entry(each, seen)
    return {each.filename: archive.read(each) for each in entries if not each.is_dir()}


def _refuse_entry(entry: zipfile.ZipInfo, seen: set[str]) -> None:
    name, shown = entry.filename, ascii(entry.filename[:LONGEST])
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        _refuse("escapes", f"its entry {shown} leads out of the folder that it is installed to")
    if "" in parts or "." in parts or "\\" in entry.orig_filename or "\0" in entry.orig_filename:
        _refuse("bad_name", f"its entry {shown} has no plain name")
    mode = stat.S_IFMT(entry.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        _refuse("link", f"its entry {shown} is {'a link' if stat.S_ISLNK(mode) else 'a special file'}")
    if entry.flag_bits & 0x1 or entry.compress_type not in _METHODS:
        _refuse("no_archive", f"its entry {shown} is encrypted, or packed in a way that wheels are not")
    # On case-insensitive file systems one would overwrite the other.
    if name.casefold() in seen:
        _refuse("twice", f"its entry {shown} is there twice")
    seen.add(name.casefold())


def _refuse_other_bytes(files: Mapping[str, bytes], record: str) -> None:
    """Refuse a wheel whose RECORD, which lists the hash of each file, is not of these files."""
    try:
        rows = [row for row in csv.reader(io.StringIO(files[record].decode())) if row]
    except (KeyError, UnicodeDecodeError, csv.Error):
        _refuse("no_record", "it has no RECORD of its files")
    listed = {row[0]: row[1] for row in rows if len(row) == 3}
    for name, content in files.items():
        if name == record or name.startswith(f"{record}."):
            continue
        method, _, expected = listed.get(name, "").partition("=")
        if not expected:
            _refuse("no_record", f"its file {name[:LONGEST]!a} is not in its RECORD")
        if method not in ("sha256", "sha384", "sha512") or record_hash(content, method) != expected:
            _refuse("other_bytes", f"its file {name[:LONGEST]!a} is not the one that its RECORD lists")


def _information(files: Mapping[str, bytes]) -> str:
    """Return the folder with the metadata of a wheel."""
    found = {name.partition("/")[0] for name in files if name.partition("/")[0].endswith(".dist-info")}
    if len(found) != 1 or f"{min(found)}/METADATA" not in files:
        _refuse("no_wheel", "it has no dist-info folder with METADATA, so it is not a wheel")
    return min(found)


def _installed_as(name: str) -> str:
    """Return the place of a wheel's installed file: `.data` lies beside its packages."""
    first, _, rest = name.partition("/")
    kind, _, below = rest.partition("/")
    return below if first.endswith(".data") and kind in _INSTALLED_BESIDE else name


def _top_of(name: str) -> str:
    first, slash, _ = name.partition("/")
    if slash:
        return first if _TOP.fullmatch(first) else ""
    stem, _, ending = first.partition(".")
    # `x.py`, and machine code such as `x.cpython-311-x86_64-linux-gnu.so`.
    return stem if ending == "py" or first.endswith(_NATIVE) else ""


# What a package says of itself


def _metadata(data: bytes) -> dict[str, Any]:
    from packaging.metadata import parse_email  # slow to import, for packages alone

    raw, _ = parse_email(data)
    name, version = raw.get("name", ""), raw.get("version", "")
    if not name or not version:
        _refuse("no_wheel", "its METADATA names no package and version")
    links = [each.partition(",")[2].strip() for each in map(str, (raw.get("project_urls") or {}).values())]
    return {
        "name": name[:LONGEST],
        "version": version[:LONGEST],
        "summary": raw.get("summary", "")[:LONGEST],
        "license": (raw.get("license_expression") or raw.get("license") or "").partition("\n")[0][:LONGEST],
        "homepage": (raw.get("home_page") or next(iter(links), ""))[:LONGEST],
        "keywords": tuple(each.strip()[:LONGEST] for each in raw.get("keywords", ()) if each.strip()),
        "requires_python": raw.get("requires_python", "")[:LONGEST],
        "requires": tuple(each[:LONGEST] for each in raw.get("requires_dist", ())),
    }


def _entry_points(data: bytes) -> tuple[str, ...]:
    read = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    read.optionxform = str  # type: ignore[method-assign, assignment]
    try:
        read.read_string(data.decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        _refuse("no_wheel", f"its entry_points.txt cannot be read: {str(error)[:LONGEST]}")
    if not read.has_section(GROUP):
        return ()
    return tuple(value.partition(":")[0].strip() for _, value in read.items(GROUP))


def _files_below(root: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    left = MOST_BYTES
    for number, path in enumerate(sorted(root.rglob("*"))):
        parts = path.relative_to(root).parts
        if any(each.startswith(".") or each in _LEFT_OUT for each in parts) or path.is_dir():
            continue
        if parts[0] in _LEFT_OUT_AT_THE_TOP:
            continue
        try:
            content = read_regular(path, left)
        except OSError as error:
            _refuse("unreadable", f"{PurePosixPath(*parts)} cannot be read: {error.strerror}")
        left -= len(content or b"")
        if number > MOST_ENTRIES or left <= 0:
            _refuse("too_large", f"{root.name} has more files than are read")
        yield prefix + PurePosixPath(*parts).as_posix(), content or b""


def _text(values: Mapping[str, Any], key: str) -> str:
    found = values.get(key)
    return found[:LONGEST] if isinstance(found, str) else ""


def _texts(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = values.get(key)
    return tuple(str(each)[:LONGEST] for each in found) if isinstance(found, list) else ()


def _mib(count: int) -> str:
    return f"{count // (1024 * 1024)} MiB"


def _refuse(rule: str, sentence: str) -> NoReturn:
    raise PackageRefused(rule, sentence)
