"""The table of live mods: what is found under which name, in which order, and what one swap changes."""

from __future__ import annotations

from collections.abc import Sequence

from devserver.live.generation import Generation
from devserver.live.handlers import HandlerTable
from devserver.live.registry import Registry, Slot, Swap
from devserver.mod import BaseMod
from devserver.model.lifecycle import HandOver, ModState


def generation(mod_path: str, number: int = 1, patterns: Sequence[str] = ("*",)) -> Generation:
    """A generation that listens to these patterns."""
    mod_id = mod_path.replace("/", ".").rpartition(".")[2]
    table = HandlerTable([(patterns, lambda event: None)])
    return Generation(
        mod_id, mod_path, number, mod_path, instance=BaseMod(), config={}, hand_over=HandOver.FRESH, handlers=table
    )


def load(registry: Registry, *generations: Generation, order: Sequence[str] | None = None) -> list[Slot]:
    """Commit a load of each of these, all in one swap."""
    slots = [registry.make_slot(each.mod_id, each.mod_path) for each in generations]
    registry.commit(Swap(list(zip(slots, generations, strict=True)), order=order))
    return slots


def ids(registry: Registry, event_name: str = "wiki.page.create") -> list[str]:
    """The mods that are asked about an event."""
    return [slot.mod_id for slot in registry.table.targets(event_name)]


def test_a_mod_is_found_by_its_id_and_by_its_path_in_both_forms() -> None:
    """`wiki`, `mods.wiki` and `./wiki` are one mod; `notes.wiki` is none."""
    registry = Registry()
    (slot,) = load(registry, generation("./wiki"))
    assert [registry.find(name) for name in ("wiki", "mods.wiki", "./wiki")] == [slot] * 3
    assert registry.find("notes.wiki") is None


def test_a_slot_joins_the_table_at_the_commit() -> None:
    """What is only being loaded is asked nothing."""
    registry = Registry()
    registry.make_slot("wiki", "mods.wiki")
    assert registry.find("wiki") is None
    assert registry.slots == registry.live == ()


def test_a_swap_keeps_the_place_and_the_slot() -> None:
    """A reloaded mod is asked where it was asked before."""
    registry = Registry()
    first, _ = load(registry, generation("mods.a"), generation("mods.b"))
    new = generation("mods.a", 2)
    registry.commit(Swap([(first, new)]))
    assert ids(registry) == ["a", "b"]
    assert first.live is new
    assert new.state is ModState.LIVE


def test_a_swap_can_change_the_order() -> None:
    """Mods are asked in the order of the last swap that named one; what it does not name comes last."""
    registry = Registry()
    load(registry, generation("mods.a"), generation("mods.b"), generation("mods.c"))
    registry.commit(Swap(order=("c", "a")))
    assert ids(registry) == ["c", "a", "b"]
    assert [each.mod_id for each in registry.live] == ["c", "a", "b"]


def test_a_removed_slot_is_gone_from_everything() -> None:
    """After an unload nothing finds the mod, and who holds its slot sees no one in it."""
    registry = Registry()
    slot, _ = load(registry, generation("mods.a"), generation("mods.b"))
    registry.commit(Swap(removed=[slot]))
    assert slot.live is None
    assert registry.find("a") is registry.find("mods.a") is None
    assert ids(registry) == ["b"]


def test_one_swap_takes_one_mod_out_and_puts_another_in_its_id() -> None:
    """A mod under another path may take over the id of one that goes in the same swap."""
    registry = Registry()
    (old,) = load(registry, generation("notes.wiki"))
    new = registry.make_slot("wiki", "mods.wiki")
    registry.commit(Swap([(new, generation("mods.wiki", 2))], removed=[old]))
    assert registry.find("wiki") is registry.find("mods.wiki") is new
    assert registry.find("notes.wiki") is None


def test_numbers_go_on_after_an_unload() -> None:
    """No two generations of one id have one number, and one that was never committed has used none up."""
    registry = Registry()
    assert registry.next_number("a") == 1
    (slot,) = load(registry, generation("mods.a"))
    assert registry.next_number("a") == registry.next_number("a") == 2
    registry.commit(Swap(removed=[slot]))
    assert registry.next_number("a") == 2


def test_a_table_that_was_taken_never_changes() -> None:
    """An event on its way sees the mods that were there when it set out."""
    registry = Registry()
    (slot,) = load(registry, generation("mods.a"))
    before = registry.table
    load(registry, generation("mods.b"))
    registry.commit(Swap(removed=[slot]))
    assert [each.mod_id for each in before.targets("wiki.page.create")] == ["a"]


def test_a_generation_that_listens_to_other_names_is_asked_about_these() -> None:
    """New handlers count from the swap on, handlers that are gone no longer."""
    registry = Registry()
    (slot,) = load(registry, generation("mods.a", patterns=["wiki.*"]))
    assert ids(registry) == ["a"]
    registry.commit(Swap([(slot, generation("mods.a", 2, patterns=["board.move"]))]))
    assert ids(registry) == []
    assert ids(registry, "board.move") == ["a"]


def test_a_generation_that_listens_to_the_same_names_costs_no_new_table() -> None:
    """The usual reload leaves routing alone."""
    registry = Registry()
    (slot,) = load(registry, generation("mods.a", patterns=["wiki.*"]))
    before = registry.table
    registry.commit(Swap([(slot, generation("mods.a", 2, patterns=["wiki.*"]))]))
    assert registry.table is before


def test_a_mod_that_listens_twice_is_asked_once() -> None:
    """Patterns of one mod may overlap."""
    registry = Registry()
    load(registry, generation("mods.a", patterns=["wiki.page.create", "wiki.*", "*"]))
    assert ids(registry) == ["a"]


def test_clear_leaves_nothing_live() -> None:
    """After the end of a network nothing is found."""
    registry = Registry()
    slots = load(registry, generation("mods.a"), generation("mods.b"))
    registry.clear()
    assert registry.live == registry.slots == ()
    assert [slot.live for slot in slots] == [None, None]
    assert ids(registry) == []
