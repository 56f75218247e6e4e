"""The effects of a change of mods on their users, as lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devserver.model.facts import ContractChanged
from devserver.model.wire_form import form_of
from devserver.ui.look import View
from devserver.ui.segments import Block, Line, dim, plain, strong
from devserver.ui.words import count

_VERBS = {"answer": "answers", "sends": "is sent with", "takes": "takes"}
_MOST = 12


def contract_block(fact: ContractChanged, view: View) -> Block:
    """Return the lines under one head."""
    told = form_of(fact)
    first, *rest = contract_lines(told["lost"], told["changed"], view)
    more = [(dim(f"… and {len(rest) - _MOST} more: oa-dev contract"),)] if len(rest) > _MOST else []
    return Block((plain("contract: "), *first), (*rest[:_MOST], *more))


def contract_lines(lost: Sequence[Mapping[str, Any]], changed: Sequence[Mapping[str, Any]], view: View) -> list[Line]:
    """Return a line for each event that lost its last handler, and each place of new shape."""
    arrow = view.look.glyphs.arrow
    lines: list[Line] = []
    for each in lost:
        who = f": {', '.join(each['senders'])}" if each["senders"] else ""
        seen = dim(f" ({count(each['seen'], 'event')} kept{who})") if each["seen"] else plain("")
        lines.append((strong(each["event_name"]), plain(" lost its last handler"), seen))
    for each in changed:
        place = each["path"] or "another value"
        words = f" {_VERBS.get(each['part'], each['part'])} {place}: {each['before']} {arrow} {each['after']}"
        agents = dim(f" ({', '.join(each['agents'])})") if each["agents"] else plain("")
        lines.append((strong(each["event_name"]), plain(words), agents))
    return lines
