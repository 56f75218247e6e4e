"""The statements of an index about the releases of a distribution: their age, and their publishers.

Read from the index in JSON (PEP 691 and 700); a publisher is one that the index has checked when the wheel was
uploaded (PEP 740). It is compared from release to release, and verified where `oa-dev[provenance]` is installed. Only
indexes that are listed in `dev.indexes`, or are the default one of this machine, are asked.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

from devserver.errors import DevServerError
from devserver.market.catalogue import BadCatalogue
from devserver.market.package import LONGEST
from devserver.market.packages import parse_package
from devserver.market.places import fetched
from devserver.model.names import normal

_JSON = "application/vnd.pypi.simple.v1+json"
_MOST = 16 * 1024 * 1024
_WHO = ("repository", "email", "project_path", "sub")
"""The keys that name a publisher, by its kind."""


class OtherPublisher(DevServerError):
    """A release by another publisher than the locked one."""


class BadAttestation(DevServerError):
    """A release whose attestations do not hold."""


@dataclass(frozen=True, slots=True)
class Attested:
    """The publisher of a release, as in `github:acme/wiki`; empty for one that is not attested."""

    publisher: str = ""
    is_verified: bool = False
    """Whether its signatures were verified here, and not only by the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A wheel of an index. `provenance` is the address of its attestations; empty without any."""

    file: str
    version: str
    sha256: str
    made: datetime | None = None
    provenance: str = ""

    def attested(self) -> Attested:
        """Ask the index for its publisher. Raises BadAttestation if an installed verifier refuses the signatures."""
        if not self.provenance:
            return Attested()
        try:
            data = fetched(self.provenance, most=_MOST)
            found = {_named(each["publisher"]) for each in json.loads(data)["attestation_bundles"]}
        except (BadCatalogue, ValueError, TypeError, KeyError):
            # A file without a readable statement counts as none: an update of an attested mod is refused then.
            return Attested()
        publisher = ", ".join(sorted(filter(None, found)))[:LONGEST]
        return Attested(publisher, is_verified=bool(publisher) and self._is_verified(data))

    def _is_verified(self, provenance: bytes) -> bool:
        """Verify that each publisher has signed this file; False if no verifier is installed."""
        try:
            # Here and not above: it takes a second to import, and few have it.
            import pypi_attestations as attestations  # type: ignore[import-not-found]
        except ImportError:
            return False
        # It warns that it fetches nothing.
        logging.getLogger("sigstore").setLevel(logging.ERROR)
        try:
            stated = attestations.Provenance.model_validate_json(provenance)
            signed = [(bundle.publisher, each) for bundle in stated.attestation_bundles for each in bundle.attestations]
            for publisher, each in signed:
                # Nothing is fetched for it: the verifier brings the roots of trust along.
                each.verify(publisher, attestations.Distribution(name=self.file, digest=self.sha256), offline=True)
        except (attestations.AttestationError, ValueError) as error:
            raise BadAttestation(f"the signatures of {self.file} do not hold ({error}); nothing was changed") from error
        if not signed:
            raise BadAttestation(f"{self.file} has a publisher and no signature; nothing was changed")
        return True


def releases_of(indexes: Iterable[str], name: str) -> tuple[Release, ...]:
    """Return the wheels of a name in the first of these indexes that has it; none where it does not say so in JSON."""
    remote = [each for each in (*indexes, os.environ.get("UV_DEFAULT_INDEX", "")) if "://" in each]
    for index in remote:
        address = f"{index.rstrip('/')}/{normal(name)}/"
        try:
            values = json.loads(fetched(address, most=_MOST, accept=_JSON))
        except BadCatalogue:  # unreachable, or without that name
            continue
        except ValueError:
            return ()
        rows = values.get("files") if isinstance(values, dict) else None
        return tuple(_releases(rows if isinstance(rows, list) else (), address))
    return ()


def too_young(releases: Iterable[Release], *, wanted: str, taken: str, before: datetime, now: datetime) -> str:
    """Return which release is newer than the one that was taken, and its age; empty without one.

    `wanted` is the requirement, as in `polls~=2.0`; `taken` the chosen version, empty for none.
    """
    from packaging.version import InvalidVersion, Version  # slow to import, for updates alone

    package, found = parse_package(wanted), list[tuple[Version, Release]]()
    for each in releases:
        try:
            version = Version(each.version)
        except InvalidVersion:  # uv does not take it either
            continue
        is_young = each.made is not None and each.made > before and not version.is_prerelease
        if is_young and package.allows(each.version) and (not taken or version > Version(taken)):
            found.append((version, each))
    if not found:
        return ""
    newest = max(found, key=lambda row: row[0])[1]
    age = now - (newest.made or now)
    hours = age.total_seconds() / 3600
    shown = f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
    return f"{package.name} {newest.version} is {'less than an hour' if hours < 1 else shown} old; --now takes it"


def _releases(rows: Iterable[Any], address: str) -> Iterator[Release]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # slow to import

    for each in rows:
        try:
            version = str(parse_wheel_filename(each["filename"])[1])
            made = each.get("upload-time")
            yield Release(
                file=each["filename"],
                version=version,
                sha256=each["hashes"]["sha256"],
                made=datetime.fromisoformat(made).astimezone(UTC) if made else None,
                provenance=urljoin(address, each["provenance"]) if each.get("provenance") else "",
            )
        except (InvalidWheelFilename, KeyError, TypeError, ValueError, AttributeError):
            # Source distributions, and rows of another form.
            continue


def _named(publisher: Any) -> str:
    who = next((str(publisher[key]) for key in _WHO if publisher.get(key)), "")
    named = f"{str(publisher.get('kind', '')).lower()}:{who}" if who else ""
    return "".join(each for each in named if each.isprintable())
