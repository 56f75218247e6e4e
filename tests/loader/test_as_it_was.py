"""A state as it was before a reload: a copy of what was kept for an undo, while the state itself goes on."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from devserver.loader.moving import Remembered
from devserver.loader.walk import contents_of


class Node:
    """An object of a mod that holds itself."""

    def __init__(self) -> None:
        self.number = 1
        self.children: list[Any] = [self]


@dataclass(slots=True)
class Slotted:
    """An object without a `__dict__`."""

    number: int = 1
    values: list[int] = field(default_factory=lambda: [1])


def remembered(state: dict[str, Any], *inside: Any) -> Remembered:
    """What a reload keeps of a state: the contents of each thing that may change."""
    kept = []
    for thing in (state, *inside):
        take, _ = contents_of(type(thing))
        assert take is not None
        kept.append((thing, take(thing)))
    return Remembered(state, tuple(kept))


def test_what_was_changed_in_place_is_as_it_was() -> None:
    """Containers inside each other, objects with and without slots, and one that holds itself."""
    node, slotted, deep = Node(), Slotted(), [2]
    state: dict[str, Any] = {
        "list": [1, {"deep": deep}],
        "tuple": (1, deep),
        "deque": deque([1]),
        "ordered": OrderedDict(a=1),
        "default": defaultdict(list, k=1),
        "set": {1},
        "node": node,
        "slotted": slotted,
    }
    inside = [state[key] for key in ("list", "deque", "ordered", "default", "set", "node", "slotted")]
    kept = remembered(state, *inside, state["list"][1], deep, node.children, slotted.values)
    deep.append(9)
    state["deque"].append(9)
    state["ordered"]["b"] = 9
    state["default"]["z"].append(9)
    state["set"].add(9)
    node.number = slotted.number = 9
    node.children.append(9)
    slotted.values.append(9)
    state["more"] = 9
    was = kept.as_it_was()
    assert was["list"] == [1, {"deep": [2]}] and was["tuple"] == (1, [2]) and was["tuple"][1] is was["list"][1]["deep"]
    assert (was["deque"], was["ordered"], was["set"]) == (deque([1]), OrderedDict(a=1), {1})
    assert was["default"] == {"k": 1} and was["default"].default_factory is list
    assert was["node"].number == 1 and was["node"].children == [was["node"]]
    assert was["slotted"] == Slotted()
    assert "more" not in was and state["more"] == node.number == 9
