"""Makes text from outside safe to print: agent ids, mod names, messages, paths, source lines.

Characters that a terminal could obey (control characters, C1, bidirectional overrides, invisible
characters) become visible as `\x1b`. Everything that any face prints goes through here; nothing
here knows what the text means.
"""

from __future__ import annotations

from unicodedata import combining, east_asian_width

LINE_LIMIT = 4000
"""The most bytes of words in one line, in UTF-8: with its time stamp it stays below 4 KiB."""


def safe(text: str) -> str:
    """Return a text in one line, with unprintable characters as in a Python literal.

    Printable is what `str.isprintable` calls so: it excludes all of Unicode's "other" and
    "separator" characters but the space, so control characters, C1, direction overrides, zero-width
    characters and lone surrogates all go.
    """
    # Cut first: escaping can only lengthen, and an agent may send a megabyte.
    text = text[:LINE_LIMIT]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def cut(text: str, limit: int = LINE_LIMIT, mark: str = "…") -> str:
    """Return at most `limit` bytes of the text in UTF-8, with `mark` where some are missing."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return text
    return data[: max(0, limit - len(mark.encode()))].decode("utf-8", "ignore") + mark


def wrapped(text: str, columns: int) -> list[str]:
    """Return safe text in lines of so many columns, broken between words where possible."""
    lines, line = [], ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if cells(candidate) <= columns:
            line = candidate
            continue
        if line:
            lines.append(line)
        line = word
        while cells(line) > columns:
            fits = _fitting(line, columns)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line or not lines else lines


def _fitting(text: str, columns: int) -> int:
    """Return how many characters of a text fit into so many columns; at least one."""
    used = 0
    for number, each in enumerate(text):
        used += cells(each)
        if used > columns:
            return max(1, number)
    return len(text)


def cells(text: str) -> int:
    """Return the columns that safe text takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)
