"""Available mods as lines: rows of a search, descriptions, differences of a version. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Line, Segment, dim, joined, plain, strong
from devserver.ui.words import count, listed, shortened

_WIDEST = 40
_NOT_A_PROOF = "read from its source; nothing of it has run"
_LABEL = 10
_MOST_VERSIONS = 6


def search_lines(rows: Sequence[Mapping[str, Any]], view: View) -> tuple[Line, ...]:
    """Return a line for each mod: its name, version, summary, and catalogue."""
    names = min(_WIDEST, max((len(each["name"]) for each in rows), default=0))
    versions = max((len(each["version"] or "") for each in rows), default=0)
    places = max((len(each["catalogue"]) for each in rows), default=0)
    room = max(view.width - names - versions - places - 6, 20)
    summaries = min(room, max((len(each["summary"]) for each in rows), default=0))
    return tuple(
        (
            strong(f"{each['name']:<{names}}"),
            plain(f"  {each['version'] or '':<{versions}}  {shortened(each['summary'], summaries):<{summaries}}"),
            dim(f"  {each['catalogue']}"),
            *_warnings(each),
        )
        for each in rows
    )


def _warnings(row: Mapping[str, Any]) -> Iterator[Segment]:
    if row["blocked"]:
        yield Segment(f"  blocked: {row['blocked']}", Style.BAD)
    if row["replaced_by"]:
        yield dim(f"  replaced by {row['replaced_by']}")


def counted_line(told: Mapping[str, Any], names: str) -> Line:
    """Return how many mods were found of how many, and where they were searched."""
    return (dim(f"{told['found']} of {count(told['of'], 'mod')} · {names}"),)


def shown_lines(facts: Mapping[str, Any]) -> tuple[Line, ...]:
    """Return the summary, answers, needs and touches of a mod, and its versions."""
    words = joined((facts["summary"], facts["license"], facts["catalogue"]), " · ")
    head = (strong(f"{facts['name']} {facts['version'] or ''}".rstrip()), plain(f" · {words}"))
    return (head, *_warning_lines(facts), *_rows(facts))


def added_lines(facts: Mapping[str, Any], place: str) -> tuple[Line, ...]:
    """Return the description of a mod that is about to be added; `place` is its origin."""
    parts = (f"sha256 {facts['sha256'][:8]}…", size_of(facts), facts["license"])
    head = (strong(f"{facts['name']} {facts['version']}"), plain(f" from {place} · " if place else " · "))
    answers = _row("answers", listed(facts["answers"], "and", 12) or "no events")
    needs = _row("needs", ", ".join(facts["requires"]) or "nothing")
    rows = (answers, needs, *_touches(facts["touches"], facts["read_from"]), _row("by", facts["by"]))
    return ((*head, plain(joined(parts, " · "))), *rows)


def _warning_lines(facts: Mapping[str, Any]) -> Iterator[Line]:
    if facts["blocked"]:
        yield (Segment(f"  {'blocked':<{_LABEL}}{facts['blocked']}", Style.BAD),)
    if facts["replaced_by"]:
        yield _row("replaced", f"by {facts['replaced_by']}")


def _rows(facts: Mapping[str, Any]) -> Iterator[Line]:
    yield _row("mods", ", ".join(facts["mods"]) or "none are listed")
    if "answers" in facts:
        yield _row("answers", listed(facts["answers"], "and", 12) or "no events")
        yield _row("needs", ", ".join(facts["requires"]) or "nothing")
        yield from _touches(facts["touches"], facts["read_from"])
        for each in facts.get("by_text", ()):
            yield _row("by text", f"{each}: a second version of it gets the first one's")
        yield _row("size", f"{size_of(facts)} · sha256 {facts['sha256'][:8]}…")
    if facts["versions"]:
        shown = [_version(each) for each in facts["versions"]]
        yield _row("versions", listed(shown, "and", _MOST_VERSIONS))
    elif facts["version"] is None:
        yield _row("versions", "those of the indexes of this network")
    if facts["homepage"]:
        yield _row("home", facts["homepage"])
    yield _row("by", facts["by"])


def _touches(touches: Mapping[str, Sequence[str]], read_from: str) -> Iterator[Line]:
    note = _NOT_A_PROOF if read_from == "source" else "from its catalogue"
    rows = list(touch_rows(touches))
    outside = [words for words in rows if not words.startswith("files of its own storage")]
    rows = rows or ["nothing outside the network of agents"]
    for number, words in enumerate(rows):
        label = "touches" if number == 0 else ""
        style = Style.WARN if words in outside else Style.PLAIN
        yield (
            plain(f"  {label:<{_LABEL}}"),
            Segment(words, style),
            *([dim(f"   {note}")] if number == len(rows) - 1 else []),
        )


def touch_rows(touches: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a line for each kind of touch: `network (ssl api.py:3, urllib.request api.py:7)`."""
    for kind in sorted(touches, key=lambda kind: (kind != "storage", kind)):
        words = listed(touches[kind], "and", 4)
        yield words if kind == "storage" else f"{kind}: {words}"


def size_of(facts: Mapping[str, Any]) -> str:
    """Return the size of a mod: its files and lines, and that of its wheel where it is known."""
    size = facts["size"]
    amount = f"{size / 1024:.1f} KB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.1f} MB"
    return joined((count(facts["files"], "file"), count(facts["lines"], "line"), amount if size else ""), ", ")


def _version(row: Mapping[str, Any]) -> str:
    yanked = row["yanked"] if isinstance(row["yanked"], str) else ""
    notes = (
        row["made"],
        f"blocked: {row['blocked']}" if row["blocked"] else "",
        f"yanked: {yanked}" if yanked else "yanked" if row["yanked"] else "",
    )
    words = joined(notes, ", ")
    return f"{row['version']} ({words})" if words else str(row["version"])


def _row(label: str, words: str) -> Line:
    return (plain(f"  {label:<{_LABEL}}"), plain(words))


def asked_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Return the requests of agents, a line each."""
    if not rows:
        yield (dim("no agent asks for a mod"),)
    for each in rows:
        mod = joined((each["name"], each["version"]), " ")
        why = f': "{each["why"]}"' if each["why"] else ""
        words = f"agent {each['agent_id']} asks for {mod} ({each['catalogue']}){why}"
        yield (strong(f"{each['number']:>3}  "), plain(words))


# Sources and differences


def source_lines(sources: Mapping[str, str]) -> Iterator[Line]:
    """Yield all sources of a package, each below its name."""
    for name, text in sources.items():
        yield (strong(name),)
        yield from ((plain(f"{number:>5}  {line}"),) for number, line in enumerate(text.splitlines(), 1))


def diff_lines(diff: Sequence[str]) -> Iterator[Line]:
    styles = {"+": Style.GOOD, "-": Style.BAD, "@": Style.DIM}
    for line in diff:
        yield (Segment(line, styles.get(line[:1], Style.PLAIN)),)


def difference_lines(facts: Mapping[str, Any]) -> tuple[Line, ...]:
    """Return what a version newly answers, needs and touches, by `shown.difference_facts`."""
    rows: list[Line] = []
    for label, came, went in (("answers", "new_answers", "gone_answers"), ("needs", "new_needs", "gone_needs")):
        signed = [f"+ {each}" for each in facts[came]] + [f"- {each}" for each in facts[went]]
        rows += [_row(label if number == 0 else "", each) for number, each in enumerate(signed)]
    touched = [(f"+ {each}", Style.WARN) for each in touch_rows(facts["new_touches"])]
    touched += [(f"- {each}", Style.PLAIN) for each in touch_rows(facts["gone_touches"])]
    for number, (words, style) in enumerate(touched):
        rows.append((plain(f"  {'touches' if number == 0 else '':<{_LABEL}}"), Segment(words, style)))
    changed = (
        f"{len(facts['files'])} of {count(facts['of_files'], 'file')}, +{facts['added']} -{facts['removed']} lines"
    )
    return (*rows, _row("code", changed))
