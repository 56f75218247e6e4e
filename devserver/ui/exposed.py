"""The words for a network that other machines can reach: a block of its own below the banner, and a sentence.

Pure. The join token is in the block of a terminal alone: what goes into a file or a pipe names where it is kept.
"""

from __future__ import annotations

from devserver.model.facts import Exposed
from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Block, Lead, Line, Segment, plain, strong

_OPEN = "open to other machines, unencrypted: who is on the way reads and changes what agents send"
_PROXIED = "open to whoever a proxy or tunnel of this machine lets in, unencrypted behind it"


def exposed_block(fact: Exposed, view: View) -> Block:
    """What a person has to know, and what the agents of others need."""
    if view.look.one_line:
        return Block((Segment(f"{view.look.glyphs.note} ", Style.WARN), plain(exposed_sentence(fact))))
    head = (Segment(f"  {view.look.glyphs.note}  ", Style.BAD), Segment(_warning(fact), Style.WARN))
    token = (strong(fact.join_token), plain(f" (kept in {fact.kept_in}; agents here need none)"))
    rows = (
        _row("Listens on", (plain(", ".join(fact.addresses)),)),
        _row("Others use", (plain(", ".join(fact.urls)),)),
        _row("Join token", token),
    )
    return Block(head, body=rows, after=((),), lead=Lead.NOTHING)


def exposed_sentence(fact: Exposed) -> str:
    """The same in a sentence, without the token."""
    where, others = ", ".join(fact.addresses), ", ".join(fact.urls)
    return f"{_warning(fact)}; listens on {where}; others use {others}; their agents show the token in {fact.kept_in}"


def _warning(fact: Exposed) -> str:
    return _PROXIED if all(each.startswith(("127.", "[::1]")) for each in fact.addresses) else _OPEN


def _row(label: str, words: Line) -> Line:
    return (plain("     "), strong(f"{label:<11}"), *words)
