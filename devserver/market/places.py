"""The places of catalogues: folders, addresses, the built-in one. The first with a name wins.

An address is asked only if a person's command says so (`Ask.FETCH`), by https or on this machine,
within seconds and two MiB. The answer is kept with its date (`~/.cache/oa-dev/`), and its age is
told when it is used instead.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from devserver.config.regular import read_regular
from devserver.market.catalogue import BUILT_IN, MOST_BYTES, BadCatalogue, Catalogue, read_catalogue
from devserver.market.folder import write_whole
from devserver.market.index import FILE, read_index
from devserver.market.package import MOST_BYTES as PACKAGE_BYTES
from devserver.market.wheel import HOME, built_in
from devserver.model.config import NetworkConfig
from devserver.model.names import is_loopback

PATIENCE = 5.0
"""Seconds for the whole answer of an address."""

WHEEL_PATIENCE = 60.0

_PIECE = 64 * 1024


class Ask(Enum):
    """Whether addresses are asked. A server never asks them: it uses kept answers."""

    FETCH = "fetch"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Listed:
    """The readable catalogues, in order, and a sentence for each of the others."""

    catalogues: tuple[Catalogue, ...]
    problems: tuple[str, ...] = ()


def catalogues_of(config: NetworkConfig | None, workspace: Path, ask: Ask) -> Listed:
    """Read a network's catalogues: those that it lists, else its folders' and the built-in one."""
    found: list[Catalogue] = []
    problems: list[str] = []
    for place in _places(config):
        try:
            found.append(_read(place, workspace, ask))
        except BadCatalogue as error:
            problems.append(str(error))
    return Listed(tuple(found), tuple(problems))


def shown(place: str) -> str:
    """Return an address without credentials."""
    if "://" not in place:
        return place
    parts = urlsplit(place)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _places(config: NetworkConfig | None) -> Iterator[str]:
    if config is not None and config.catalogues is not None:
        yield from config.catalogues
        return
    # A simple index has no list of its own.
    yield from (each for each in (config.indexes if config is not None else ()) if "://" not in each)
    yield BUILT_IN


def files_of(config: NetworkConfig | None, workspace: Path) -> dict[str, Path]:
    """Return the files of catalogues, by name: those that exist, without asking an address."""
    found: dict[str, Path] = {}
    for place in _places(config):
        if place in (BUILT_IN, "built-in"):
            found[BUILT_IN] = HOME / FILE
        elif "://" in place:
            found[shown(place)] = _kept_as(place)
        else:
            path = workspace / place
            found[place.removesuffix(f"/{FILE}")] = path if path.name.endswith(".json") else path / FILE
    return {name: path for name, path in found.items() if path.is_file()}


def _read(place: str, workspace: Path, ask: Ask) -> Catalogue:
    if place in (BUILT_IN, "built-in"):
        return built_in()
    if "://" in place:
        return _remote(place, ask)
    path = workspace / place
    if path.name.endswith(".json") and not path.is_dir():
        try:
            data = read_regular(path, MOST_BYTES)
        except OSError as error:
            raise BadCatalogue(f"{place} cannot be read: {error.strerror}") from error
        if data is None:
            raise BadCatalogue(f"there is no {place}")
        return read_catalogue(data, path.parent, named=place.removesuffix(f"/{FILE}"))
    if not path.is_dir():
        raise BadCatalogue(f"there is no folder {place}")
    return read_index(path, named=place)


# Addresses


def _remote(url: str, ask: Ask) -> Catalogue:
    name, kept = shown(url), _kept_as(url)
    problem = ""
    if ask is Ask.FETCH:
        try:
            data = fetched(url)
            # A catalogue that cannot be used is not kept.
            found = read_catalogue(data, url, named=name, age=0.0)
        except BadCatalogue as error:
            problem = str(error)
        else:
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(kept, data)
            return found
    try:
        data, written = kept.read_bytes(), kept.stat().st_mtime
    except OSError:
        raise BadCatalogue(problem or f"{name} was never fetched: oa-dev search fetches it") from None
    return read_catalogue(data, url, named=name, age=max(0.0, time.time() - written))


def _kept_as(url: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "oa-dev" / "catalogues" / f"{hashlib.sha256(url.encode()).hexdigest()[:24]}.json"


def fetched_wheel(catalogue: str, file: str) -> bytes:
    """Fetch a wheel that lies beside a catalogue. Raises BadCatalogue."""
    return fetched(urljoin(catalogue, quote(file)), patience=WHEEL_PATIENCE, most=PACKAGE_BYTES)


def fetched(url: str, *, patience: float = PATIENCE, most: int = MOST_BYTES, accept: str = "application/json") -> bytes:
    """Fetch a catalogue, or a file of at most so many bytes. Raises BadCatalogue."""
    name, began = shown(url), time.monotonic()
    _refuse_open(url, name)
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "oa-dev"})
    try:
        # Addresses of this machine are asked directly, whatever proxy is set.
        direct = [urllib.request.ProxyHandler({})] if urlsplit(url).scheme == "http" else []
        opener = urllib.request.build_opener(_SameRules, *direct)
        with closing(opener.open(request, timeout=patience)) as answer:
            return _bounded(answer, name, began + patience, most)
    except urllib.error.HTTPError as error:
        raise BadCatalogue(f"{name} answers {error.code}") from error
    except TimeoutError as error:
        raise _late(name, patience) from error
    except (OSError, HTTPException, ValueError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise _late(name, patience) from error
        seconds = time.monotonic() - began
        raise BadCatalogue(f"{name} cannot be reached ({seconds:.1f} s): {str(reason)[:200]}") from error


def _bounded(answer: IO[bytes], name: str, until: float, most: int) -> bytes:
    """Read an answer whole, within its time, however slowly it comes."""
    data = bytearray()
    while piece := answer.read1(_PIECE):  # type: ignore[attr-defined]
        data += piece
        if len(data) > most:
            raise BadCatalogue(f"{name} has more than {most // (1024 * 1024)} MiB")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(data)


def _late(name: str, patience: float) -> BadCatalogue:
    return BadCatalogue(f"{name} did not answer within {patience:g} s")


def _refuse_open(url: str, name: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return
    raise BadCatalogue(f"{name} is not fetched: an address begins with https:// (http:// on this machine alone)")


class _SameRules(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to addresses that could be asked first."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _refuse_open(newurl, shown(newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl)
