"""Restarts in place in words: the cost of one before it, and its result. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from devserver.model.facts import Restarted
from devserver.model.plan import Restart, StateMove
from devserver.ui.glyphs import Style
from devserver.ui.look import View
from devserver.ui.segments import Block, Segment, dim, joined, plain, strong
from devserver.ui.words import count, listed, took


def restart_planned(restart: Restart, view: View) -> Block:
    """Return what a plan tells of a restart: why, what moves, is lost and ends; or waits."""
    glyphs = view.look.glyphs
    why = listed(restart.reasons, glyphs.more, most=3)
    if restart.waits:
        words = f" restart needed: {why} {glyphs.dot} not done: {restart.waits}"
        return Block((Segment(glyphs.held, Style.WARN), plain(words)))
    costs = joined((_moved(restart.moves), *_lost(restart.moves), *_ended(restart.ends)), "; ")
    words = joined((f" restart in place: {why}", costs), f" {glyphs.dot} ")
    return Block((Segment(glyphs.change, Style.NOTE), plain(words)))


def restarted(fact: Restarted, view: View) -> Block:
    """Return the result of a restart: how long agents waited, what was kept, which states moved."""
    glyphs = view.look.glyphs
    dot = f" {glyphs.dot} "
    closed = f", {fact.closed} closed" if fact.closed else ""
    connections = f"{count(fact.kept, 'connection')} kept{closed}" if fact.kept or fact.closed else ""
    agents = f"{count(fact.agents.connected, 'agent')}, {fact.agents.dropped} dropped"
    failed = f"did not come up: {listed(fact.failed, glyphs.more)}" if fact.failed else ""
    details = joined((_moved(fact.mods), *_lost(fact.mods), *_ended(fact.ended)), "; ")
    said = joined((f"paused {took(fact.pause_ms)}", connections, agents, details, failed), dot)
    why = listed(fact.reasons, glyphs.more, most=3)
    sign = Segment(f"{glyphs.reloaded} ", Style.BAD if fact.failed else Style.GOOD)
    return Block((sign, strong("restarted in place"), plain(f"   {why}"), dim(f"{dot}{said}")))


def _moved(moves: Sequence[StateMove]) -> str:
    keys = sum(len(each.moves) for each in moves)
    return f"state moves ({count(keys, 'key')})" if keys else "no state"


def _lost(moves: Sequence[StateMove]) -> list[str]:
    return [f"{each.mod_id} loses {what}" for each in moves for what in each.lost]


def _ended(processes: Sequence[str]) -> list[str]:
    return [f"ends {each}" for each in processes]
