"""Writes the golden files of edits again: `python tests/market/yaml_edits.py`, then read what `git diff` says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devserver.errors import ConfigError
from devserver.market.yaml_edit import (
    CannotEdit,
    Edited,
    add_line,
    add_mod,
    remove_line,
    remove_mod,
    set_in_mod,
)

GOLDEN = Path(__file__).parent / "golden"
Edit = Callable[[str], Edited]

_PLAIN = """\
# The team's network.
network:
  name: "Team"      # as people call it
  mods:
    # Pages.
    - name: mods.wiki
      config:
        max_pages: 500   # of all agents

    # Votes come last.
    - name: 'polls'
      version: '~=1.0'
      enabled: true # for now

  # Who may.
  agent_groups: {}
"""
_FLOW = "network: {name: Team, mods: [{name: mods.wiki}, {name: polls, config: {a: 1}}]}  # short\n"
_LINES = """\
network:
  name: Team
  mods:
  - name: wiki_extras   # ours
    versions:
    # The new one.
    - label: "2"
      version: "~=2.0"
      share: 10%   # of agents
      agents: [ana]
    - label: next
      shadow: true
    config: {}
  - name: polls
"""
_TEXT = """\
network:
  name: Team
  mods:
    - name: mods.wiki
      config:
        welcome: |
          # Welcome
          - to all

        folded: >-
          so long
           and more

  # Ours.
  node_id: team
"""
_ALIAS = """\
network:
  name: Team
  mods:
    - &wiki
      name: mods.wiki
      config: &limits
        most: 5
    - name: mods.other
      config: *limits
"""
_DASH = "network:\n  name: T\n  mods:\n    -\n      name: mods.a\n"
_ONLY = "network:\n  name: T\n  mods:\n    # Ours.\n    - name: polls\n"
_EMPTY = "network:\n  name: Team\n  mods:{value}\n  node_id: team\n"

CASES: dict[str, tuple[str, Edit]] = {
    "add": (_PLAIN, lambda text: add_mod(text, "extras")),
    "add_version": (_PLAIN, lambda text: add_mod(text, "extras", version="~=1.5")),
    "add_config": (_PLAIN, lambda text: add_mod(text, "extras", config={"a": {"b": [1, "x, y"]}, "c": "it's: so"})),
    "add_listed": (_PLAIN, lambda text: add_mod(text, "./wiki")),
    "add_flow": (_FLOW, lambda text: add_mod(text, "extras", config={"a": 1})),
    "add_to_nothing": (_EMPTY.format(value=""), lambda text: add_mod(text, "extras")),
    "add_to_null": (_EMPTY.format(value=" null"), lambda text: add_mod(text, "extras")),
    "add_to_empty": (_EMPTY.format(value=" []"), lambda text: add_mod(text, "extras")),
    "add_to_empty_commented": (_EMPTY.format(value="  []   # none yet"), lambda text: add_mod(text, "extras")),
    "add_to_nothing_commented": (_EMPTY.format(value="   # none yet"), lambda text: add_mod(text, "extras")),
    "add_without_list": ("network:\n  name: Team\n# end\n", lambda text: add_mod(text, "extras")),
    "add_without_line_end": ("network:\n  name: T\n  mods:\n  - name: mods.a", lambda text: add_mod(text, "extras")),
    "add_after_text": (_TEXT, lambda text: add_mod(text, "extras")),
    "add_after_alias": (_ALIAS, lambda text: add_mod(text, "extras")),
    "add_after_comments_of_the_last": (
        "network:\n  name: T\n  mods:\n    - name: mods.a\n      # config:\n      #   b: 1\n    # The end.\n",
        lambda text: add_mod(text, "extras"),
    ),
    "add_dash_alone": (_DASH, lambda text: add_mod(text, "extras")),
    "add_crlf": (_PLAIN.replace("\n", "\r\n"), lambda text: add_mod(text, "extras", version=">=1,<2")),
    "add_bom": ("\ufeff" + _PLAIN, lambda text: add_mod(text, "extras")),
    "add_odd_spaces": (
        "network:\n   name:   Team\n   mods:\n         -   name:   mods.a\n             config:   { a:   1 }\n",
        lambda text: add_mod(text, "extras"),
    ),
    "add_with_other_letters": (
        "network:\n  name: Zoë 🙂\n  mods: # Ähnlich 🙂\n  - name: mods.a # 🙂\n",
        lambda text: add_mod(text, "extras"),
    ),
    "remove_first": (_PLAIN, lambda text: remove_mod(text, "mods.wiki")),
    "remove_last": (_PLAIN, lambda text: remove_mod(text, "polls")),
    "remove_only": (_ONLY, lambda text: remove_mod(text, "polls")),
    "remove_flow_first": (_FLOW, lambda text: remove_mod(text, "mods.wiki")),
    "remove_flow_last": (_FLOW, lambda text: remove_mod(text, "polls")),
    "remove_flow_only": ("network: {name: T, mods: [ {name: polls} ]}\n", lambda text: remove_mod(text, "polls")),
    "remove_text": (_TEXT, lambda text: remove_mod(text, "mods.wiki")),
    "remove_what_is_shared": (_ALIAS, lambda text: remove_mod(text, "mods.wiki")),
    "remove_who_shares": (_ALIAS, lambda text: remove_mod(text, "mods.other")),
    "remove_unlisted": (_PLAIN, lambda text: remove_mod(text, "nowhere")),
    "version_in_quotes": (_PLAIN, lambda text: set_in_mod(text, "polls", "version", "~=2.0")),
    "version_new": (_PLAIN, lambda text: set_in_mod(text, "mods.wiki", "version", ">=1,<2")),
    "version_out": (_PLAIN, lambda text: set_in_mod(text, "polls", "version", None)),
    "version_flow": (_FLOW, lambda text: set_in_mod(text, "polls", "version", "~=2.0")),
    "enabled": (_PLAIN, lambda text: set_in_mod(text, "polls", "enabled", False)),
    "config": (_PLAIN, lambda text: set_in_mod(text, "mods.wiki", "config", {"max_pages": 5})),
    "line_out": (_LINES, lambda text: remove_line(text, "wiki_extras", "2")),
    "line_new": (_LINES, lambda text: add_line(text, "wiki_extras", {"label": "3", "version": "~=3.0"})),
    "line_first": (_LINES, lambda text: add_line(text, "polls", {"label": "2", "when": {"beta": True}})),
    "line_unknown": (_LINES, lambda text: remove_line(text, "wiki_extras", "7")),
    "two_documents": (_PLAIN + "---\n" + _PLAIN, lambda text: add_mod(text, "extras")),
    "no_mapping": ("- network\n", lambda text: add_mod(text, "extras")),
}  # fmt: skip


def outcome(text: str, edit: Edit) -> str:
    """What comes out of an edit, as a golden file holds it: a comment with the line, then the text; or the refusal."""
    try:
        found = edit(text)
    except (CannotEdit, ConfigError) as error:
        return f"# refused: {error}\n"
    return f"# line {found.line}\n{found.text}"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, (text, edit) in CASES.items():
        (GOLDEN / f"{name}.yaml").write_bytes(outcome(text, edit).encode())
