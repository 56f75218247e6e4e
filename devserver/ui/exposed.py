"""The words for a network that other machines can reach: a block of its own below the banner, and a
sentence.

Pure. The join token is in the block of a terminal alone: a file or a pipe names the file that holds
it.
"""

from __future__ import annotations

from devserver.model.facts import Exposed
from devserver.model.wire_form import exposed_warning, sentence_of
from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Block, Lead, Line, Segment, plain, strong


def exposed_block(fact: Exposed, view: View) -> Block:
    """Return what a person has to know, and what the agents of others need."""
    if view.look.one_line:
        return Block((Segment(f"{view.look.glyphs.note} ", Style.WARN), plain(sentence_of(fact))))
    head = (Segment(f"  {view.look.glyphs.note}  ", Style.BAD), Segment(exposed_warning(fact), Style.WARN))
    token = (strong(fact.join_token), plain(f" (kept in {fact.kept_in}; agents here need none)"))
    rows = (
        _row("Listens on", (plain(", ".join(fact.addresses)),)),
        _row("Others use", (plain(", ".join(fact.urls)),)),
        _row("Join token", token),
    )
    return Block(head, body=rows, after=((),), lead=Lead.NOTHING)


def _row(label: str, words: Line) -> Line:
    return (plain("     "), strong(f"{label:<11}"), *words)
