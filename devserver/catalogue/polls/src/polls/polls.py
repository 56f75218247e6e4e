"""What a poll is and what may be done to it. Works on plain dicts, sends nothing, knows no network.

A poll is a dict with its question, its options in order, and the votes by agent. Times are in seconds since 1970.
"""

from __future__ import annotations

import uuid
from typing import Any

from devserver import Refused

from .payloads import OpenPoll, Rules

Poll = dict[str, Any]
Polls = dict[str, Poll]


def open_poll(polls: Polls, rules: Rules, asked: OpenPoll, by: str, at: float) -> Poll:
    """Add a poll. Raises Refused where it has too many options, or where all that are kept are still open."""
    if len(asked.options) > rules.max_options:
        raise Refused(f"a poll has at most {rules.max_options} options, this one has {len(asked.options)}")
    if len(polls) >= rules.max_polls:
        _make_room(polls, rules.max_polls)
    poll_id = uuid.uuid4().hex[:8]
    poll = {
        "poll_id": poll_id,
        "question": asked.question,
        "options": list(asked.options),
        "several": asked.several,
        "opened_by": by,
        "opened_at": at,
        "closed_at": None,
        "votes": {},
    }
    polls[poll_id] = poll
    return poll


def _make_room(polls: Polls, most: int) -> None:
    closed = next((poll_id for poll_id, poll in polls.items() if poll["closed_at"] is not None), None)
    if closed is None:
        raise Refused(f"there are {most} open polls, which is all that are kept: close one first")
    del polls[closed]


def find(polls: Polls, poll_id: str) -> Poll:
    """Find a poll. Raises Refused where there is none."""
    poll = polls.get(poll_id)
    if poll is None:
        raise Refused(f"there is no poll {poll_id!r}", poll_id=poll_id)
    return poll


def vote(poll: Poll, agent: str, options: list[str]) -> None:
    """Count an agent's vote in place of its earlier one. Raises Refused where it may not vote so."""
    if poll["closed_at"] is not None:
        raise Refused(f"poll {poll['poll_id']} is closed", **result(poll))
    unknown = [each for each in options if each not in poll["options"]]
    if unknown:
        raise Refused(f"{unknown[0]!r} is none of the options: {', '.join(poll['options'])}")
    if len(options) > 1 and not poll["several"]:
        raise Refused("in this poll an agent votes for one option")
    votes = poll["votes"]
    if options:
        votes[agent] = list(dict.fromkeys(options))
    else:
        votes.pop(agent, None)


def close(poll: Poll, by: str, at: float) -> None:
    """Close a poll. Raises Refused for all but the agent that opened it, and where it is closed."""
    if by != poll["opened_by"]:
        raise Refused(f"only {poll['opened_by']}, who opened poll {poll['poll_id']}, may close it")
    if poll["closed_at"] is not None:
        raise Refused(f"poll {poll['poll_id']} is closed already", **result(poll))
    poll["closed_at"] = at


def result(poll: Poll) -> dict[str, Any]:
    """Return a poll with its counts by option, and without saying how each agent has voted."""
    counts = dict.fromkeys(poll["options"], 0)
    for options in poll["votes"].values():
        for option in options:
            counts[option] += 1
    facts = {key: value for key, value in poll.items() if key not in ("votes", "options")}
    most = max(counts.values())
    leading = [option for option, count in counts.items() if count == most and most > 0]
    return {**facts, "counts": counts, "voters": len(poll["votes"]), "leading": leading}
