"""Changes of packages as lines: those that come and go, both sides of a conflict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from devserver.market.explain import Explained
from devserver.ui.glyphs import Style
from devserver.ui.segments import Line, Segment, dim, joined, plain, strong
from devserver.ui.words import count

_MOST = 40


def package_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Yield a line for each package that comes, goes or moves: `+ idna 3.20 new · needed by …`."""
    for each in rows[:_MOST]:
        before, now, why = each["from"], each["to"], each["needed_by"]
        sign, style = ("+", Style.GOOD) if before is None else ("-", Style.BAD) if now is None else ("~", Style.WARN)
        versions = now if before is None else before if now is None else f"{before} → {now}"
        note = joined(("new" if before is None else "", f"needed by {', '.join(why)}" if why else ""), " · ")
        yield (
            Segment(f"{sign} ", style),
            strong(each["name"]),
            plain(f" {versions}"),
            dim(f"   {note}" if note else ""),
        )
    if len(rows) > _MOST:
        yield (dim(f"  and {count(len(rows) - _MOST, 'more package')}"),)


def conflict_lines(why: Explained, *, whole: bool) -> Iterator[Line]:
    """Return both sides of a conflict about a package, or uv's words; `whole`: its derivation."""
    if why.sides:
        names = max(len(each.who) for each in why.sides)
        needs = max(len(each.needs) for each in why.sides)
        for each in why.sides:
            yield (
                plain(f"    {each.who:<{names}}    needs {each.needs:<{needs}}"),
                dim(f"    {each.place}" if each.place else ""),
            )
        rest = f"{why.package} can be in a process once. Loosen one of them, or take one of the mods out."
        yield (plain(f"  {rest}"),)
    elif why.sentence:
        yield (plain(f"    {why.sentence}"),)
    if whole or not why.known:
        yield from ((plain(f"    {line}"),) for line in why.raw.splitlines())
    else:
        yield (dim("  oa-dev sync --explain shows the whole derivation"),)
