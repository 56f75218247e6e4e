"""Builds wheels of mods: the same bytes from the same sources, at any time and place and by any uv.

uv builds; the differences between its versions and machines (its own name in the wheel, times,
compression) are then removed. So the digest of a published wheel is known beforehand, and that of a
built-in mod is in its catalogue.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from devserver.errors import DevServerError
from devserver.market import uv
from devserver.market.catalogue import BUILT_IN, Catalogue, read_catalogue
from devserver.market.folder import record_hash
from devserver.market.package import read_package
from devserver.market.packages import name_in

HOME = Path(__file__).parents[1] / "catalogue"
"""The folder of the built-in mods: their list, and beside it the sources of each."""

_BUILT_BY_UV = re.compile(r"^Generator: uv.*$", re.MULTILINE)


class OtherBytes(DevServerError):
    """A built-in mod differs from its catalogue after the build."""


def build_wheel(sources: Path, into: Path) -> Path:
    """Build the wheel of a folder with a pyproject.toml into another folder, and return its path.
    Raises UvFailed, UvMissing, and PackageRefused for a result that must not be installed."""
    with tempfile.TemporaryDirectory(prefix="oa-dev-build-") as folder:
        # A copy: a build may not write beside the sources.
        copy, out = Path(folder) / sources.name, Path(folder) / "out"
        shutil.copytree(sources, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        built = uv.build(copy, out)
        wheel = Path(folder) / built.name
        wheel.write_bytes(in_one_form(built.read_bytes()))
        read_package(wheel)
        into.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(wheel, into / wheel.name))


def in_one_form(data: bytes) -> bytes:
    """Return a wheel with the same files in one form: sorted, one time, no builder's name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {each.filename: archive.read(each) for each in archive.infolist() if not each.is_dir()}
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    builder = record.replace("/RECORD", "/WHEEL")
    said = files[builder].decode()
    files[builder] = _BUILT_BY_UV.sub("Generator: oa-dev", said).encode()
    # The metadata comes last, as the format asks for.
    names = sorted((name for name in files if name != record), key=lambda name: (".dist-info/" in name, name))
    rows = [f"{_quoted(name)},sha256={record_hash(files[name])},{len(files[name])}" for name in names]
    files[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in (*names, record):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, files[name])
    return out.getvalue()


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


# What is built in


def built_in() -> Catalogue:
    """Return the catalogue of the mods that come with oa-dev."""
    return read_catalogue((HOME / "index.json").read_bytes(), HOME, named=BUILT_IN)


def sources_of(name: str) -> Path:
    """Return the folder of a built-in mod's sources, by the name of its distribution."""
    return HOME / name.replace("-", "_")


def needed_built_in(name: str) -> list[str]:
    """Return the built-in mods that one of them needs, directly or not, without itself."""
    catalogue = built_in()
    found, waiting = [name], [name]
    while waiting:
        entry = catalogue.find(waiting.pop())
        version = entry[1].newest() if entry is not None else None
        requires = entry[1].releases[version].requires if entry is not None and version is not None else []
        known = [catalogue.find(name_in(each)) for each in requires]
        new = [each[0] for each in known if each is not None and each[0] not in found]
        found += new
        waiting += new
    return found[1:]


def build_built_in(name: str, into: Path) -> Path:
    """Build the wheel of a built-in mod, by the name of its distribution. Raises as `build_wheel`.

    Raises OtherBytes if it differs from the catalogue: the sources here are not those of the
    release.
    """
    found = built_in().find(name)
    version = found[1].newest() if found is not None else None
    if found is None or version is None:
        raise OtherBytes(f"there is no {name} among the mods that are built in")
    release = found[1].releases[version]
    there = into / release.file
    if there.is_file() and hashlib.sha256(there.read_bytes()).hexdigest() == release.sha256:
        return there
    wheel = build_wheel(sources_of(found[0]), into)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != release.sha256:
        wheel.unlink()
        raise OtherBytes(
            f"{found[0]} {version} is not what was released: sha256 {release.sha256[:8]}… expected, {digest[:8]}… "
            "found; its sources in the installation of oa-dev were changed, or this uv builds otherwise"
        )
    return wheel
