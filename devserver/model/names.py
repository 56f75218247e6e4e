"""The one rule for each kind of name: paths and ids of mods, and what is loopback. Pure.

A mod's path is the dotted name of its module, as in `mods.wiki`, or `./wiki`, which is `mods.wiki` too. Its id is the
last part.
"""

from __future__ import annotations

import difflib
import ipaddress
import keyword
import re
from collections.abc import Collection
from functools import lru_cache

LOOPBACK = "127.0.0.1"
LOCK = "pylock.oa-dev.toml"
"""The file beside network.yaml that locks what comes from outside."""
LOCAL_NAMES = ("localhost", LOOPBACK, "[::1]")
"""The names of this machine in a request, in the form of its Host header."""

MOD_PATH = r"(?:\./[A-Za-z0-9_]+|[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+){0,15})"
"""A mod's path as a regular expression, in the dialect that Python and JSON Schema share.

A part may begin with a digit: OpenAgents' own demonstrations are named so (`demos.09_research.mods.evaluation`), and
importlib takes any text.
"""

HOST_NAME = r"[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?"
"""The name of a host as a regular expression, in the same dialect."""

_HOST_NAME = re.compile(HOST_NAME)
_MOD_PATH = re.compile(MOD_PATH)
_LONGEST_PATH = 200


def module_of(mod_path: str) -> str:
    """Return the dotted name of a mod's module: `./name` is `mods.name`, other paths stay."""
    return f"mods.{mod_path[2:]}" if mod_path.startswith("./") else mod_path


def mod_id_of(mod_path: str) -> str:
    """Return the short id of a mod: the last part of its path."""
    return module_of(mod_path).rpartition(".")[2]


def near(word: str, known: Collection[str]) -> str | None:
    """Return the known word that `word` was probably meant to be, or None."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.75)
    return found[0] if found else None


def mod_name_problem(mod_path: str) -> str | None:
    """Return why a text cannot be a mod's path, as a clause about "it"; None if it can. Only the
    loader knows whether the mod exists, and whether its name is a module of Python's own."""
    if len(mod_path) > _LONGEST_PATH:
        return f"it is longer than {_LONGEST_PATH} characters"
    if _MOD_PATH.fullmatch(mod_path) is None:
        return "a mod is named like mods.wiki, or ./wiki for mods/wiki beside network.yaml"
    wrong = (part for part in module_of(mod_path).split(".") if part.startswith("__") or keyword.iskeyword(part))
    return next((f"{part} is not allowed in a mod's name" for part in wrong), None)


def host_name_problem(name: str) -> str | None:
    """Return why a text cannot name a host, or None."""
    if _HOST_NAME.fullmatch(name) is None:
        return "a host is named with 1 to 63 of a-z, 0-9, dot, _ and -, as in gpu-1"
    return None


def shown_name(name: str) -> str:
    """Return a name as a message may quote it: in ASCII and quotes, at most 80 characters."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}...")


def normal(name: str) -> str:
    """Return a distribution's name in the form in which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_range(text: str) -> bool:
    """Return whether a text is a range of versions of PEP 440 (`>=1.2,<2`); the empty text is.

    `packaging` is imported with the first range that is read: most mods and most lists state none.
    """
    if not text:
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return len(SpecifierSet(text)) == len(text.split(","))
    except (InvalidSpecifier, ValueError):
        return False


# The same ranges are asked about with every plan, and a network may have thousands.
@lru_cache(maxsize=16384)
def in_range(range_: str, version: str) -> bool:
    """Return whether a version, also a pre-release, is in a range that is not empty; an invalid one is in none."""
    from packaging.specifiers import SpecifierSet  # slow to import, and few needs have a range
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(range_).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host: `localhost`, or an address, with or without
    brackets, without a port.

    An IPv4 address inside an IPv6 one (`::ffff:127.0.0.1`) does not count: Python's versions
    disagree about it.
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:  # a hostname may lead anywhere
        return False
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None
