"""Text as mods need it: clean lines, titles, excerpts, search. Knows no events and keeps no state."""

from __future__ import annotations


def clean_line(text: str) -> str:
    """`text` as one line: control characters gone, each run of white space one blank, none at the ends."""
    kept = "".join(each for each in text if each.isprintable() or each.isspace())
    return " ".join(kept.split())


def title_problem(title: str, longest: int = 120) -> str | None:
    """Return why `title` cannot head anything, or None when it can. `longest` is in characters."""
    cleaned = clean_line(title)
    if not cleaned:
        return "a title needs at least one visible character"
    if len(cleaned) > longest:
        return f"a title has at most {longest} characters, this one has {len(cleaned)}"
    return None


def excerpt(text: str, longest: int = 200) -> str:
    """Return the first `longest` characters of a text, and `...` where it goes on."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def finds(query: str, *texts: str) -> bool:
    """Return whether every word of `query` stands in at least one of `texts`; upper and lower case
    are the same."""
    folded = [text.casefold() for text in texts]
    return all(any(word in text for text in folded) for word in query.casefold().split())
