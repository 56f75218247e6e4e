"""Changes of the process by the code of mods: noted while it starts, taken back, restored.

modules: changes by executing a module are taken back before its successor is executed, and restored
if that fails

generations: changes by its constructor and `initialize()` likewise, before the next instance is
made

So a guard (`if not log.handlers`) and a wrapper find the state of a fresh start. A change belongs
to the code that ran: what a library does to itself at its first import is the library's, and what
others do meanwhile is theirs. It is taken back if its value is still in place; otherwise it is
named. Nothing here knows when a module or a generation ends. Threads, processes and sockets are in
`started`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Callable, Container, Generator, Hashable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from devserver.live.generation import activity
from devserver.loader.contents import CannotGoBack, forget_computed
from devserver.loader.libraries import Evidence, container_places, evidence_in, is_table, places_in, places_named
from devserver.loader.made import Made, Source, data_in, made_by, of_new_table, said_by, take_over
from devserver.loader.places import MISSING, PLACES, Place, Table, fill, signals_from_anywhere
from devserver.loader.refused import Attempt, Others, take_back
from devserver.loader.scope import unnoted
from devserver.loader.started import Started
from devserver.loader.tables import ORDER, Change, differences, is_same_table, order_differs, same, same_parts

Undo = Callable[[], None]


@dataclass(slots=True, eq=False, weakref_slot=True)
class ProcessChanges:
    """The changes of the process by one module or generation, and what it started.

    `detach` takes the changes back; then either `attach` restores them exactly, or `end` makes that
    final.
    """

    changes: list[Change] = field(default_factory=list)
    started: Started = field(default_factory=Started)
    failed: list[str] = field(default_factory=list)
    """The changes that could not be taken back, in words."""
    made: list[Made] = field(default_factory=list)
    """The objects that it has left in other modules of mods, which stay there."""
    covered: list[tuple[Change, Change]] = field(default_factory=list)
    """Changes that cannot be taken back because others overwrote them, each with that change."""
    stuck: list[tuple[str, str]] = field(default_factory=list)
    """The objects that it has moved on and that cannot go back: their module, and words."""
    taken: set[str] = field(default_factory=set)
    """The libraries of which something was taken back; "" for a setting of the process."""
    attempt: Attempt | None = None
    """All that it has changed in other modules of mods, until it is kept or refused."""
    _undo: list[tuple[Change, Undo]] = field(default_factory=list)
    _forgotten: dict[str, Undo] = field(default_factory=dict)
    """By module in which it has registered, how to put back what functions there had remembered."""

    def __post_init__(self) -> None:
        _owners.add(self)

    def detach(self) -> None:
        """Restore the values of before."""
        for each in {each.module for each in self.changes if each.module}:
            self._forgotten.setdefault(each, forget_computed(each))
        pause = unnoted.get()
        with contextlib.nullcontext() if pause is None else pause():
            for change in reversed([each for each in self.changes if not each.place.is_late]):
                self._take_back(change)
        self.changes = [each for each in self.changes if each.place.is_late]

    def _take_back(self, change: Change) -> None:
        try:
            undo = _taken_back(change)
        except CannotGoBack as error:
            self.stuck.append((change.module, str(error)))
            return
        except Exception as error:
            self.failed.append(f"{change.place.word} {_name(change)}, which cannot be taken back: {error}")
            return
        if undo is not None:
            self._undo.append((change, undo))
            self.taken.add(change.library)
        elif (over := _put_over(change)) is not None:
            # Overwritten since: fix the value that its new owner saved, or its undo restores ours.
            over.before = change.before
            self.covered.append((change, over))

    def give_way(self, before: ProcessChanges) -> None:
        """Let others' changes over those of the predecessor stand over these, too.

        If one place in another module has room for one value, as a default, a fresh start has it
        registered before theirs.
        """
        for old, over in before.covered:
            mine = next((each for each in self.changes if each.is_at(old) and each.place.is_of_mods), None)
            if mine is None or not same(mine.place.read().get(mine.key, MISSING), mine.after):
                continue
            top: Change = over
            while (higher := _put_over(top)) is not None and higher is not mine:
                top = higher
            if same(mine.before, top.after):
                mine.place.put(mine.key, mine.after, top.after)
                mine.before, over.before = over.before, mine.after

    def attach(self) -> None:
        """Put back what `detach` has taken away."""
        for change, undo in reversed(self._undo):
            try:
                undo()
            except Exception as error:
                self.failed.append(f"{change.place.word} {_name(change)}, which cannot be put back: {error}")
            self.changes.append(change)
        self._undo.clear()
        for undo in self._forgotten.values():
            undo()
        self._forgotten.clear()
        for change, over in self.covered:
            if same(over.before, change.before):
                over.before = change.after
                self.changes.append(change)
        self.covered.clear()

    def end(self) -> None:
        """Take back for good, and tell threads to end."""
        self.detach()
        for each in self._forgotten:
            # Code that ran until now may have asked again meanwhile.
            forget_computed(each)
        self._forgotten.clear()
        for change in reversed(self.changes):
            self._take_back(change)
        self.changes.clear()
        for change, _ in self._undo:
            if change.before is MISSING and change.place.close is not None:
                with contextlib.suppress(Exception):
                    change.place.close(change.after)
        self._undo.clear()
        self.started.end()
        if self.failed or self.started:
            _ended.append(self)

    def alive(self) -> list[str]:
        """Return the changes and threads that are still there, each in words."""
        return [*self.failed, *self.started.alive()]


def _taken_back(change: Change) -> Undo | None:
    """Restore the value before a change; return the undo. None if another value is there now."""
    place, key = change.place, change.key
    found = place.read()
    if key is ORDER:
        return _sorted_back(change, list(found))
    key = key if change.after is MISSING else _last_of(found, key)
    now = found.get(key, MISSING)
    if change.once_empty and now is change.after and len(now):
        return None
    if change.whole is not None and data_in(now, objects=True) != change.whole:
        return None
    if not same(now, change.after):
        if place.is_of_mods and (rest := _without_own(now, change)) is not None:
            place.put(key, now, rest)
            return lambda: place.put(key, rest, now)
        return None
    order = list(place.list_of(key)) if place.list_of is not None else None
    place.put(key, change.after, change.before)

    def undo() -> None:
        place.put(key, change.before, change.after)
        if order is not None and place.list_of is not None:
            ranks = {id(each): rank for rank, each in enumerate(order)}
            found = place.list_of(key)
            fill(found, sorted(found, key=lambda each: ranks.get(id(each), len(ranks))))

    return undo


def _sorted_back(change: Change, found: list[Any]) -> Undo | None:
    """Give a list its order of before, if others have not sorted it since; what they have added comes last."""
    sort, left, known = change.place.sort, set(found), set(change.after)
    if sort is None or [each for each in found if each in known] != [each for each in change.after if each in left]:
        return None
    sort(change.before)
    return lambda: sort(found)


def _put_over(change: Change) -> Change | None:
    others = (each for each in _all_changes() if each is not change and each.is_at(change))
    return next((each for each in others if same(each.before, change.after)), None)


def _last_of(table: Table, key: Any) -> Any:
    """Return the key of the last occurrence of a value that a change has put into a list: others
    may have gone meanwhile."""
    if type(key) is tuple and len(key) == 2 and type(key[0]) is type(key[1]) is int:
        return next((each for n in range(key[1], -1, -1) if (each := (key[0], n)) in table), key)
    return key


def _without_own(now: Any, change: Change) -> Any:
    """Return a tuple that others added to, without this change's value; None for other values."""
    before, after = change.before, change.after
    if not (type(now) is type(before) is type(after) is tuple) or not same_parts(after[: len(before)], before):
        return None
    rest = list(now)
    for added in after[len(before) :]:
        place = next((n for n in range(len(rest) - 1, -1, -1) if rest[n] is added), None)
        if place is None:
            return None
        del rest[place]
    return tuple(rest)


def _name(change: Change) -> str:
    which = change.place.which if isinstance(change.place.which, str) else ""
    return f"{which}.{change.key}" if which else repr(change.key)


# Whose they are, and their end

_owners: weakref.WeakSet[ProcessChanges] = weakref.WeakSet()
_of: dict[int, ProcessChanges] = {}
"""By instance: one may have no hash, or one that runs code of its mod."""
_ended: list[ProcessChanges] = []


def changes_of(instance: object) -> ProcessChanges:
    """Return the changes by an instance of a mod since its construction began."""
    if id(instance) not in _of:
        adopt(instance, ProcessChanges())
    return _of[id(instance)]


def adopt(instance: object, changes: ProcessChanges) -> None:
    """Let the changes during the construction of an instance belong to it."""
    if id(instance) not in _of:
        weakref.finalize(instance, _of.pop, id(instance), None).atexit = False
    _of[id(instance)] = changes


def _all_changes() -> Iterator[Change]:
    for owner in list(_owners):
        yield from owner.changes


def left_behind(seconds: float) -> tuple[str, ...]:
    """Return what remains of all that ended since the last question. Waits for threads; blocks."""
    ended = [_ended.pop() for _ in range(len(_ended))]
    for each in ended:
        each.started.wait(seconds)
    return tuple(words for each in ended for words in each.alive())


def refuse(owners: Iterable[ProcessChanges]) -> None:
    """End the changes of code that is not kept, in the order in which it ran, and leave nothing of them."""
    ended = list(owners)
    for each in reversed(ended):
        # First: a value that is gone already may be found again, where others have put the same one.
        each.detach()
    failed = take_back(each.attempt for each in ended if each.attempt is not None)
    for each in reversed(ended):
        each.attempt = None
        each.failed += failed
        failed = []
        each.end()


def has_to_wait() -> bool:
    """Return whether `left_behind` would wait for a thread."""
    return any(each.started.to_end() for each in _ended)


# Noting


class _Recording:
    """One photograph of the process, kept current: what differs at a turn belongs to the code that ran.

    The innermost of `_running` ran; None stands for a library, for which nothing is noted.
    """

    def __init__(self) -> None:
        self.over = False
        self._running: list[tuple[ProcessChanges, Source | None] | None] = []
        self._names: list[frozenset[str]] = []
        self._walked: set[int] = set()
        self._is_moved = False
        """Whether a table of mods has changed since it was looked through."""
        self._imported: list[tuple[int, int]] = []
        """The number of modules at the last look for those that each names, and of modules of mods
        that had run here."""
        self._ran: list[str] = []
        """The modules of mods that have been run here."""
        self._tables: dict[tuple[str, Any], tuple[Place, Table]] = {}
        self._calls = (activity.begun, activity.ended)
        self._others = Others()
        self._look_at(PLACES)

    def end(self) -> None:
        """Forget the photograph: tasks that were started meanwhile carry this in their context."""
        self.over = True
        self._tables.clear()
        self._others.close()

    def again(self) -> None:
        """Go on with the photograph after other code ran; what that has changed may lead to more."""
        self.over = False
        self._turn()
        if self._is_moved:
            self._walked.clear()
        self._is_moved = False

    @property
    def owner(self) -> ProcessChanges | None:
        """The owner of the code that runs now."""
        return self._running[-1][0] if self._running and self._running[-1] is not None else None

    @contextlib.contextmanager
    def running(self, owner: ProcessChanges | None, source: Source | None = None) -> Iterator[None]:
        """Let the changes until the block ends belong to the owner."""
        if self._running:
            # The outermost one begins with the photograph.
            self._turn()
        self._running.append(None if owner is None else (owner, source))
        self._names.append(frozenset() if source is None else source.names())
        self._look_at(places_named(self._names[-1], self._module(), self._walked))
        self._imported.append((len(sys.modules), len(self._ran)))
        try:
            yield
        finally:
            self._turn()
            self._running.pop()
            self._names.pop()
            self._imported.pop()
            if source is not None:
                self._ran.append(source.name)
            self._look_at_imported()

    def _look_at_imported(self) -> None:
        """Look also at the modules that the running code may name and that were imported since."""
        if not self._names or self._imported[-1] == (len(sys.modules), len(self._ran)):
            return
        (before, ran), names = self._imported[-1], self._names[-1]
        fresh = self._ran[ran:]
        if len(sys.modules) - before == len(fresh):
            # Modules of mods alone: asking for each name again would take longer than executing
            # most of them.
            named = frozenset(each for each in fresh if each in names or each.rpartition(".")[2] in names)
            self._look_at(places_in(named, frozenset(), self._module(), self._walked))
        else:
            self._look_at(places_named(names, self._module(), self._walked))
        self._imported[-1] = (len(sys.modules), len(self._ran))

    def _module(self) -> str:
        source = self._running[-1][1] if self._running and self._running[-1] is not None else None
        return "" if source is None else source.name

    def _look_at(self, places: Iterable[Place]) -> None:
        for place in places:
            if (place.word, place.which) not in self._tables:
                self._tables[place.word, place.which] = (place, place.read())

    def _turn(self) -> None:
        found: list[Change] = []
        owner = self.owner
        # Of what others may have changed meanwhile nothing is the attempt's. A handler that waits changes nothing.
        has_called = self._calls != (activity.begun, activity.ended) and not _has_loop()
        is_mixed = self._others.have_run() or has_called
        attempt = owner.attempt if owner is not None and not is_mixed else None
        for at, (place, before) in list(self._tables.items()):
            if place.is_as is not None and place.is_as(before):
                continue
            after = place.read()
            if not is_same_table(before, after, place):
                self._tables[at] = (place, after)
                if attempt is not None:
                    attempt.note(place, before, after)
                if place.sort is not None and order_differs(before, after):
                    # First, so that it is taken back last.
                    found.append(Change(place, ORDER, tuple(before), tuple(after)))
                found += [Change(place, *each) for each in differences(before, after)]
        self._is_moved = self._is_moved or any(each.place.is_of_mods for each in found)
        if found and self._running and self._running[-1] is not None:
            self._note(found, is_mixed, *self._running[-1])
        self._calls = (activity.begun, activity.ended)

    def _note(self, found: list[Change], is_mixed: bool, owner: ProcessChanges, source: Source | None) -> None:
        module = "" if source is None else source.name
        is_plain = source is None or all(each.place.is_of_mods for each in found)
        # Reading the code takes long; registrations need its name alone.
        evidence = Evidence(module=module) if is_plain or source is None else evidence_in(source.codes(), module)
        is_contested = self._is_contested()
        # What others may have changed meanwhile is the code's if its own lines show it.
        own = cache(lambda: evidence_in(() if source is None else source.code(), module))
        made, at = list[Change](), {each.at: each for each in owner.changes}
        for change in found:
            if change.place.is_of_mods:
                entries = list(self._entries_of(change))
                shown = [
                    each
                    for each in entries or [change]
                    if (each.key is ORDER or evidence.shows_registration(each.before, each.after))
                    and (not is_mixed or (each.key is not ORDER and own().says(each.name, each.before, each.after)))
                ]
                is_shown = set(map(id, shown))
                left = [each for each in entries or [change] if id(each) not in is_shown]
                if is_table(change.after) and not is_table(change.before):
                    leads = evidence.shows_registration(MISSING, change.after)
                    is_said = not left and (leads or all(own().has(each.after) for each in shown))
                    shown, left = of_new_table(change, shown, leads=leads, is_said=is_said, is_mixed=is_mixed)
                made += left
                for each in shown:
                    _add(owner, at, each)
            elif not (change.place.is_shared or is_contested) or evidence.shows(
                change.name, change.before, change.after
            ):
                _add(owner, at, change)
            elif change.place.is_shared:
                for each in self._entries_of(change):
                    if evidence.shows(each.name, each.before, each.after):
                        _add(owner, at, each)
        # Once for all: to read what the code says takes longer than to execute most of it.
        owner.made += [] if source is None else made_by(source, made, is_sure=not is_mixed)

    def _is_contested(self) -> bool:
        """Return whether other mods' code may have run meanwhile: on its own thread alone."""
        begun, ended = self._calls
        return (begun != ended or activity.begun != begun) and not _has_loop()

    def _entries_of(self, change: Change) -> Iterator[Change]:
        """Yield the differences between a table and the one that a library has exchanged it for."""
        which = change.place.which
        owner = which[0] if isinstance(which, tuple) else which
        name = str(owner) if change.place.is_of_mods else f"{owner}.{change.key}"
        for place in container_places(name, change.after):
            known = self._tables.get((change.place.word, (name, id(change.before)))) or self._tables.get(
                ("entry", (name, id(change.before)))
            )
            inherited = _inherited(change) if change.before is MISSING else []
            base = known[1] if known is not None else next((each.read() for each in inherited), {})
            after = place.read()
            place = replace(place, word=change.place.word, is_of_mods=change.place.is_of_mods)
            self._tables[place.word, place.which] = (place, after)
            yield from (Change(place, *each) for each in differences(base, after))


def _inherited(change: Change) -> list[Place]:
    """Return the table that a class had from its base before it got one of its own."""
    bases = type.mro(change.place.owner)[1:] if isinstance(change.place.owner, type) else []
    found = next((vars(each)[change.key] for each in bases if change.key in vars(each)), None)
    return list(container_places("", found))


def _add(owner: ProcessChanges, known: dict[Hashable, Change], change: Change) -> None:
    before = known.setdefault(change.at, change)
    if before is change:
        owner.changes.append(change)
        return
    before.after, before.whole = change.after, change.whole
    if same(before.before, before.after):
        del known[change.at]
        owner.changes = [each for each in owner.changes if each is not before]


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_current: ContextVar[_Recording | None] = ContextVar("oa_dev_recording", default=None)


@contextlib.contextmanager
def recording(owner: ProcessChanges, source: Source | None) -> Iterator[None]:
    """Note the changes until the block ends as the owner's, but those that an inner block notes."""
    outer = _current.get()
    # An ended one belongs to a task which was started in it, and still carries its context.
    if outer is not None and not outer.over:
        with outer.running(owner, source):
            yield
        return
    here = _Recording()
    try:
        with _photographed(here, owner, source):
            yield
    finally:
        here.end()


@contextlib.contextmanager
def _photographed(here: _Recording, owner: ProcessChanges, source: Source | None) -> Iterator[None]:
    token, pause = _current.set(here), unnoted.set(lambda: here.running(None))
    try:
        with signals_from_anywhere():
            if here.over:
                here.again()
            with here.running(owner, source):
                yield
    finally:
        here.over = True
        unnoted.reset(pause)
        _current.reset(token)


def source_of(name: str) -> Source | None:
    """Return the code of a loaded module of a mod."""
    loader = getattr(getattr(sys.modules.get(name), "__spec__", None), "loader", None)
    return loader if hasattr(loader, "names") and hasattr(loader, "codes") else None


def outdated_by(
    before: ProcessChanges,
    after: ProcessChanges,
    source: Source | None,
    executed: Container[str],
    ends: Callable[[str], bool] = lambda module: False,
) -> list[str]:
    """Return what code has left in modules that stay and a fresh start would have otherwise, in words.

    Objects that its successor would make too are the successor's from now on. `ends`: see `take_over`.
    """
    stuck = [words for module, words in before.stuck if module not in executed]
    made = [each for each in before.made if each.module not in executed]
    places = {id(each.place): each.place for each in made}
    tables = {each: place.read() for each, place in places.items()}
    there = (each for each in made if tables[id(each.place)].get(each.key) is each.thing)
    left, twice = take_over(there, after.made, ends)
    inside = [each for each in made if each.is_inside(tables[id(each.place)].get(each.key))]
    stuck += [f"{each.shown} holds what was put there before" for each in inside]
    if source is None:
        return stuck
    says = cache(partial(said_by, source.name, source.text()))
    words = {id(each): each.outdated(source.name, says(each.module)) for each in left}
    # A list that stays, and to which the successor has added as its predecessor did.
    new = [*(each.place for each in after.changes), *(each.place for each in after.made)]
    added = {each.which for each in new if each.list_of is not None}
    twice += [each for each in left if (each.module, id(each.thing)) in added]
    stuck += [f"{each.shown} holds what was put there before" for each in twice]
    known = set(map(id, after.made))  # it may be asked again, once a large source has been read
    after.made += [each for each in left if not words[id(each)] and id(each) not in known]
    return [*stuck, *(each for each in words.values() if each)]


def is_taken(library: str, changes: ProcessChanges) -> bool:
    """Return whether the changes of a library by some code were taken back, as far as they were
    seen. Most settings of the process belong to no library of their own."""
    return library in changes.taken or ("" in changes.taken and library in sys.stdlib_module_names)


def recording_owner() -> ProcessChanges | None:
    """Return the owner of the code that is imported or started here."""
    found = _current.get()
    return None if found is None else found.owner


class Stepwise:
    """Awaits something, and notes each step's changes: other code runs between them."""

    def __init__(self, awaited: Any, owner: ProcessChanges, source: Source | None) -> None:
        self.awaited = awaited
        self._owner = owner
        self._source = source

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self.awaited.__await__()
        value: Any = None
        error: BaseException | None = None
        # One photograph for all: to look through a helper of many objects takes longer than most steps.
        here = _Recording()
        try:
            while True:
                with _photographed(here, self._owner, self._source):
                    try:
                        waits_for = steps.send(value) if error is None else steps.throw(error)
                    except StopIteration as stop:
                        return stop.value
                try:
                    value, error = (yield waits_for), None
                except BaseException as thrown:
                    value, error = None, thrown
        finally:
            here.end()
