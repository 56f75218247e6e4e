"""Explains why no set of packages fits, with both sides: read from what uv prints.

Reads only known forms. Any other derivation is shown as uv writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from devserver.market.wants import PROJECT, Wants
from devserver.model.names import normal

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RANGE = r"(?:\[[^\]]*\])?(?:\{[^}]*\})?(?:[<>=!~][^\s]*?)?(?=[,.]?(?:\s|$))"
_THING = rf"(?:all versions of )?{_NAME}{_RANGE}"
_NEXT = rf"(?:only|there|all versions of {_NAME} depend|{_NAME}{_RANGE} (?:depends?|was|were|has|have|cannot|is|are)\b)"
_END = rf"(?= and {_NEXT}|, which |,?\s*(?:And b|B)ecause|,?\s*$)"
_DEPENDS = re.compile(rf"(?P<who>{_THING}) depends? on (?!one of:)(?P<what>.+?){_END}")
_ONE_OF = re.compile(rf"(?P<who>{_THING}) depends? on one of:(?P<what>(?:\s+{_NAME}[<>=!~]\S+)+)")
_ONLY = re.compile(rf"only (?P<what>{_THING}) (?:is|are) available")
_FOLLOWING = re.compile(
    rf"only the following versions of (?P<name>{_NAME}) are available:(?P<what>(?:\s+{_NAME}[<>=!~]\S+)+)"
)
_NO_VERSION = re.compile(rf"there (?:is|are) no versions? of (?P<what>{_THING})")
_NOT_FOUND = re.compile(rf"(?P<name>{_NAME}) was not found in (?:the package registry|the provided package locations)")
_NO_WHEELS = re.compile(rf"(?P<what>{_THING}) (?:has|have) no (?:usable )?wheels")
_PYTHON = re.compile(r"the requested Python version \((?P<asked>[^)]*)\) does not satisfy Python(?P<wanted>\S+)")
_CONCLUSION = re.compile(r"we can conclude that .*?\.(?: \(\d+\))?(?= (?:And because|Because) |\s*$)")
_KNOWN = re.compile(r"we know from \(\d+\) that .*?, (?=we can conclude)")
"""Conclusions that the derivation repeats: not premises."""
_PARTS = re.compile(rf"^(?:all versions of )?(?P<name>{_NAME})(?:\[[^\]]*\])?(?:\{{[^}}]*\}})?(?P<range>.*)$")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a conflict: its name for people, its requirement, and where that is written."""

    who: str
    needs: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """Why nothing fits: `sides` that want one package differently, or a `sentence`.

    Without either, the derivation had an unknown form; `raw` is always uv's own text.
    """

    raw: str
    package: str = ""
    sides: tuple[Side, ...] = ()
    sentence: str = ""

    @property
    def known(self) -> bool:
        """Whether it could be put into our words."""
        return bool(self.sides or self.sentence)


@dataclass(frozen=True, slots=True)
class _Need:
    """A clause of the derivation: `who` (with its versions) needs `name` in a range."""

    who: str
    name: str
    range: str

    @property
    def text(self) -> str:
        return f"{self.name}{self.range}"


def explain(said: str, wants: Wants) -> Explained:
    """Read a derivation of uv, with our names for its parts."""
    raw = derivation_of(said)
    premises = " ".join(_CONCLUSION.sub(" ", _KNOWN.sub("", " ".join(raw.split()))).split())
    if not raw or "unsatisfiable" not in raw:
        return Explained(raw or said)
    needs = list(dict.fromkeys(_needs(premises)))
    found = _lacking(premises, needs, wants) or _contested(needs, wants)
    return Explained(raw) if found is None else replace(found, raw=raw)


def derivation_of(said: str) -> str:
    """Return the part of uv's output that derives why nothing fits; empty without one."""
    start = said.find("Because ")
    if start < 0:
        return ""
    return "\n".join(line.strip() for line in said[start:].partition("\nhint:")[0].splitlines()).strip()


def _needs(premises: str) -> Iterator[_Need]:
    for found in (*_DEPENDS.finditer(premises), *_ONE_OF.finditer(premises)):
        # A range is one word with commas in it; separators are followed by a blank.
        for each in re.split(r",? and |, |\s+", found["what"].replace("all versions of ", "").strip()):
            parts = _PARTS.match(each)
            if parts is not None:
                yield _Need(found["who"], normal(parts["name"]), parts["range"])


def _lacking(premises: str, needs: list[_Need], wants: Wants) -> Explained | None:
    """Return a requirement that cannot be met: of an unknown name, or missing versions."""
    for found in _NOT_FOUND.finditer(premises):
        name = normal(found["name"])
        by = [each for each in needs if each.name == name]
        if by:
            return Explained("", name, sentence=f"{_asked_by(by[0], wants)}, and none of the indexes has {name}")
    for found in _PYTHON.finditer(premises):
        return Explained(
            "", "python", sentence=f"Python {found['asked']} runs here, and Python{found['wanted']} is needed"
        )
    for name, there in _available(premises):
        by = [each for each in needs if each.name == name and (each.range or "wheel" in there)]
        # Having only one version of a mod of the workspace says nothing.
        if by and name in wants.server:
            return Explained("", name, sentence=f"{_asked_by(by[0], wants)}, and {_runs(name, wants)}")
        if by and wants.who(name) is None and not _is_contested(name, needs):
            return Explained("", name, sentence=f"{_asked_by(by[0], wants)}, and the indexes have {there}")
    return None


def _runs(name: str, wants: Wants) -> str:
    own = f"oa-dev {wants.server_version}"
    return f"{own} runs" if name == "oa-dev" else f"{own} itself runs with {name} {wants.server[name]}"


def _available(premises: str) -> Iterator[tuple[str, str]]:
    told = ((_ONLY, "only"), (_FOLLOWING, "only"), (_NO_VERSION, "no"), (_NO_WHEELS, "no wheel of"))
    for pattern, words in told:
        for found in pattern.finditer(premises):
            if pattern is _FOLLOWING:
                yield normal(found["name"]), f"{words} {', '.join(found['what'].split())}"
            elif parts := _PARTS.match(found["what"]):
                yield normal(parts["name"]), f"{words} {parts['name']}{parts['range']}"


def _is_contested(name: str, needs: Iterable[_Need]) -> bool:
    return len({(_name_of(each.who), each.range) for each in needs if each.name == name and each.range}) > 1


def _contested(needs: list[_Need], wants: Wants) -> Explained | None:
    """Return the package that is wanted in two ways, with the two sides."""
    name = next((each.name for each in needs if each.range and _is_contested(each.name, needs)), None)
    by = [each for each in needs if each.name == name and each.range]
    return None if name is None else Explained("", name, tuple(_side(each, wants, needs) for each in by))


def _asked_by(need: _Need, wants: Wants) -> str:
    side = _side(need, wants)
    where = f" ({side.place})" if side.place else ""
    return f"{side.who} needs {side.needs}{where}"


def _side(need: _Need, wants: Wants, needs: Iterable[_Need] = ()) -> Side:
    name = _name_of(need.who)
    known = wants.who(name)
    if known is not None:
        return Side(f"{known.who} {known.version}", need.text, known.place)
    if name == PROJECT:
        listing = wants.listing(need.name)
        line = f":{listing.line}" if listing is not None and listing.line else ""
        return Side(wants.file, need.text, f"{wants.file}{line}")
    listing = wants.listing(name)
    place = f"{wants.file}:{listing.line}" if listing is not None and listing.line else _needed_by(name, needs, wants)
    parts = _PARTS.match(need.who)
    versions = parts["range"].removeprefix("==") if parts is not None else ""
    return Side(f"{name} {versions}".strip(), need.text, place)


def _needed_by(name: str, needs: Iterable[_Need], wants: Wants) -> str:
    by = next((wants.who(_name_of(each.who)) for each in needs if each.name == name), None)
    return "" if by is None else f"needed by {by.who}, {by.place}"


def _name_of(thing: str) -> str:
    parts = _PARTS.match(thing)
    return normal(parts["name"]) if parts is not None else ""
