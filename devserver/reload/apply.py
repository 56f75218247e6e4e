"""A decision is carried out: one group of steps goes through the phases, all of it or nothing.

The phases are a table (`model/lifecycle.PHASE_TABLE`; `_PHASES` here names the code of each). The fold runs that table
on the threads that it names and keeps an undo stack; a fault before COMMIT unwinds it, and the generations that ran
run on. Decides nothing about which mods are concerned, and never touches the routing but through one `Registry.commit`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import replace
from functools import partial
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.errors import HookFailed
from devserver.live.generation import Generation
from devserver.live.handlers import collect_handlers
from devserver.live.registry import Swap
from devserver.loader.build import Build, NeedsModsThread
from devserver.loader.moving import Remembered
from devserver.market.manifest import manifest_beside
from devserver.mod import Network
from devserver.model.change import Digest
from devserver.model.config import ModSpec
from devserver.model.lifecycle import PHASE_TABLE, PHASES_OF, Action, HandOver, ModState, Phase, PhaseRule, Thread
from devserver.model.names import mod_id_of
from devserver.model.plan import Group, Plan, Step
from devserver.model.split import Line, StateMode, main_of
from devserver.reload import hooks, line_state
from devserver.reload.carried import Candidate, Carried, Failure, took
from devserver.reload.elsewhere import FailedElsewhere, Pact
from devserver.reload.fits import check_needs
from devserver.reload.handover import StateTransfer
from devserver.reload.history import Past
from devserver.reload.patience import GivenUp, Patience

if TYPE_CHECKING:
    from devserver.reload.engine import Engine

_BUILDS = (Phase.COMPILE, Phase.IMPORT, Phase.CONSTRUCT)
"""The phases that touch no traffic."""

_AFTER_ALL = (Phase.COMMIT, Phase.OPEN, Phase.CLOSE)


class Transaction:
    """One group on its way. Each phase is a method; what undoes it is pushed before it can half happen."""

    def __init__(self, engine: Engine, group: Group, plan: Plan, pact: Pact | None = None) -> None:
        self._shop = engine
        self._pact = pact
        self.plan = plan
        self.candidates = tuple(self._candidate(step) for step in group.steps)
        self.phase = Phase.COMPILE
        self.at: Candidate | None = None
        self.build: Build | None = None
        """What makes the fresh modules, from COMPILE on."""
        self._undo_failed: Exception | None = None
        self._past: Past | None = None
        self._read: dict[Path, Digest | None] = {}
        self._undo: list[Callable[[], Awaitable[None]]] = []
        self.patience = Patience(engine.say, engine.where, engine.is_own)
        """Waits for imports and `initialize()`."""
        self._phases: list[tuple[Phase, float]] = []
        """Each phase that something went through, with when it began."""

    async def run(self, before: Phase | None = None) -> Carried:
        """Carry the group out; a fault of a mod never gets out of here. With `before` the fold ends
        in front of that phase, and what it has made stays: a check."""
        began = time.monotonic()
        failure: Failure | None = None
        rules = takewhile(lambda rule: rule.phase is not before, PHASE_TABLE)
        for (thread, waits), passed in groupby(rules, key=self._leg):
            phases = [rule.phase for rule in passed]
            if waits in phases and (failure := await self._agree(phases[0])) is not None:
                break
            # What the build worker does is awaited here; that worker is one for blocking functions.
            on_mods = thread is Thread.MODS
            failure = await (self._shop.home.run(self._fold, phases) if on_mods else self._fold(phases))
            if failure is not None:
                break
        touched = {**(self.build.touched if self.build is not None else {}), **self._read}
        ended = time.monotonic()
        return Carried(
            self.candidates,
            failure,
            self._undo_failed,
            touched,
            self.phase,
            ended - began,
            self._past,
            took(self._phases, ended),
        )

    def _leg(self, rule: PhaseRule) -> tuple[Thread, Phase | None]:
        """What is carried out in one go: a thread and, where hosts agree, what they have to agree on before."""
        if self._pact is None or rule.phase in _BUILDS:
            return rule.thread, None
        return rule.thread, Phase.COMMIT if rule.phase in _AFTER_ALL else Phase.GATE

    async def _agree(self, phase: Phase) -> Failure | None:
        """Wait until the other hosts have come as far; undo where they do not."""
        assert self._pact is not None
        self.phase = phase
        try:
            await self._pact.before(phase, self.candidates)
        except asyncio.CancelledError:
            await self._shop.home.run(self._unwind)
            raise
        except FailedElsewhere as failed:
            await self._shop.home.run(self._unwind)
            return Failure(phase, failed.mod_id, failed)
        return None

    @property
    def depends_on(self) -> frozenset[Path]:
        """The sources that it was started for, and those that it has read."""
        touched = self.build.touched if self.build is not None else {}
        return frozenset({*self.plan.changed, *touched})

    async def _fold(self, phases: Sequence[Phase]) -> Failure | None:
        for phase in phases:
            concerned = [each for each in self.candidates if phase in PHASES_OF[each.step.action]]
            if not concerned:
                continue
            self.phase, self.at = phase, None
            self._phases.append((phase, time.monotonic()))
            try:
                await _PHASES[phase](self, concerned)
            except asyncio.CancelledError:
                await self._shop.home.run(self._unwind)
                raise
            except Exception as error:
                await self._shop.home.run(self._unwind)
                return Failure(phase, self._guilty(concerned).step.mod_id, error)
        return None

    def _guilty(self, concerned: list[Candidate]) -> Candidate:
        importing = self.build.importing if self.build is not None else None
        by_entry = (c for c in concerned if c.located is not None and c.located.entry == importing)
        return self.at or next(by_entry, concerned[0])

    async def _unwind(self) -> None:
        """Undo what was done, last first. An undo that fails does not keep the others from being done."""
        failures = []
        while self._undo:
            try:
                await self._undo.pop()()
            except Exception as error:
                failures.append(error)
        self._undo_failed = failures[0] if failures else None

    # The phases

    async def _compile(self, candidates: list[Candidate]) -> None:
        for candidate in self._each(candidates):
            candidate.located = self._shop.locate(candidate.step, self.plan.former)
        entries = [each.located.entry for each in candidates if each.located is not None]
        modules = dict.fromkeys(name for each in candidates for name in each.step.modules)
        self.build = self._shop.build(tuple(modules), entries, self.plan)
        if self.build.is_short:
            # A compiler lets no other thread run: to change threads twice would only come on top.
            self.build.compile()
        else:
            async with self._within_limit("compiling"):
                work = self._shop.worker.run(self.build.compile)
                await self.patience.wait(work, partial(self._words, "compiling", candidates), self.build.stack)

    @asynccontextmanager
    async def _within_limit(self, doing: str) -> AsyncIterator[None]:
        """Abandon the build and its thread where it takes too long or is given up."""
        assert self.build is not None
        try:
            async with asyncio.timeout(self._shop.limits.imports) as limit:
                yield
        except GivenUp:
            self.build.abandon()
            self._shop.replace_worker()
            raise
        except TimeoutError as late:
            if not limit.expired():
                raise
            self.build.abandon()
            self._shop.replace_worker()
            name = self.build.importing or self._guilty(list(self.candidates)).step.mod_id
            seconds = self._shop.limits.imports
            words = f"{name} was still {doing} after {seconds:g} s, gave up (dev.limits.imports)"
            raise HookFailed(words) from late

    async def _import(self, candidates: list[Candidate]) -> None:
        assert self.build is not None
        self._undo.append(self._undo_import)
        async with self._within_limit("importing"):
            try:
                await self._execute(candidates)
            except NeedsModsThread as needed:
                self.build.undo()
                self.build = self.build.again()
                if str(needed):
                    self._shop.say(self._words(f"imported on the mods' thread: {needed}", candidates))
                await self._execute(candidates)

    async def _execute(self, candidates: Sequence[Candidate]) -> None:
        """Import beside the handlers, or between them what works on their thread alone."""
        assert self.build is not None
        shop, build = self._shop, self.build
        running = (
            shop.home.run(_executed, build) if build.on_mods_thread else shop.worker.run(build.execute, shop.home.loop)
        )
        work = asyncio.ensure_future(running)
        await self.patience.wait(work, partial(self._words, "importing", candidates), build.stack)

    def _words(self, doing: str, candidates: Sequence[Candidate]) -> str:
        guilty = self._guilty(list(candidates))
        return f"{guilty.step.mod_id} v{self._shop.registry.next_number(guilty.step.mod_id)}: {doing}"

    async def _undo_import(self) -> None:
        assert self.build is not None
        self.build.undo()

    async def _construct(self, candidates: list[Candidate]) -> None:
        if self.build is not None:
            self.build.bring_locals()
        for candidate in self._each(candidates):
            if candidate.step.action is Action.RECONFIGURE:
                assert candidate.old is not None
                place_of = self._shop.place_of_config(candidate.step)
                old = candidate.old
                candidate.settings = hooks.settings_of(old.config_model, candidate.step, place_of, old.manifest)
            else:
                self._make(candidate)

    def _make(self, candidate: Candidate) -> None:
        assert self.build is not None and candidate.located is not None
        step, located = candidate.step, candidate.located
        module = self.build.module(located.entry)
        mod_class = self._shop.around.mod_class(module, mod_id_of(located.mod_path))
        candidate.mod_class = mod_class
        candidate.manifest = manifest = manifest_beside(located.file)
        hooks.take_manifest(mod_class, manifest)
        hooks.check_requires(mod_class)
        candidate.config_model = model = hooks.config_model(mod_class, module)
        settings = hooks.settings_of(model, step, self._shop.place_of_config(step), manifest)
        old = candidate.old
        reconfigures = old is not None and dict(step.config) != dict(old.config)
        mode = hooks.hand_over_of(mod_class, None if old is None else old.instance, reconfigures=reconfigures)
        if step.line is not None:
            try:
                line_state.expect_class(step, mod_class, step.line, mode)
            except HookFailed as fault:
                raise self._shop.locate.placed(fault, step.mod_path) from None
        candidate.way = HandOver.REBIND if self._stays(candidate) else mode
        rebinds = candidate.way is HandOver.REBIND and old is not None
        if old is not None and not rebinds:
            self._undo.append(partial(_call, hooks.take_back(old.instance)))
        self._undo.append(partial(self._close_new, candidate))
        context = self.build.context(located.entry)
        if rebinds and old is not None:
            instance = old.instance
        else:
            instance = _inside(context).run(hooks.make_instance, mod_class, main_of(step.mod_path))
        candidate.new = Generation(
            step.mod_id,
            step.mod_path,
            self._shop.registry.next_number(step.mod_id),
            located.entry,
            instance=instance,
            config=dict(step.config),
            hand_over=mode,
            listed=step.listed,
            came_with=step.came_with,
            reloadable=located.reloadable,
            code=step.code,
            config_model=model,
            settings=settings,
            manifest=manifest,
        )
        candidate.new.context = context
        # An instance that stays keeps its handle; from the hand-over on that speaks for the new generation.
        if not rebinds:
            self._bind(candidate.new, self._shop.around.handle(step.mod_path, step.line))

    def _stays(self, candidate: Candidate) -> bool:
        """Whether the instance goes on because its code was only moved. Another one would be made
        from modules that `initialize()` of this one has filled already."""
        old = candidate.old
        return (
            self.build is not None
            and self.build.moves_only
            and old is not None
            and old.reads.keys().isdisjoint(self.plan.changed)
            and dict(candidate.step.config) == dict(old.config)
        )

    @staticmethod
    def _bind(generation: Generation, handle: Any) -> None:
        instance = generation.instance
        generation.handle = handle
        handle.bind(generation)
        generation.configure()
        network: Network = handle
        instance.bind_network(network)

    async def _close_new(self, candidate: Candidate) -> None:
        """End a generation that did not come to life. One `shutdown()`, also after half a start."""
        new = candidate.new
        if new is None or (candidate.old is not None and new.instance is candidate.old.instance):
            return
        if candidate.started:
            await hooks.shutdown(new, self._shop.limits.shutdown)
        else:
            await hooks.discard(new, self._shop.limits.shutdown)
        self._read.update(new.reads)
        new.handle.take_back()
        new.state = ModState.CLOSED
        candidate.new = None

    async def _prepare_transfer(self, candidate: Candidate) -> None:
        if candidate.old is None or candidate.new is None or candidate.mod_class is None:
            return
        candidate.transfer = StateTransfer(
            old=candidate.old,
            new=candidate.new,
            new_class=candidate.mod_class,
            way=candidate.way,
            limit=self._shop.limits.initialize,
            before=self._before(candidate),
            earlier=self._shop.knowledge.history.states_of(candidate.step.mod_id),
            replaced=self.build.replaced_modules if self.build is not None else {},
        )
        await candidate.transfer.prepare()

    def _before(self, candidate: Candidate) -> Remembered | None:
        """The contents that a state gets back where a reload is undone; what a line shares is its mod's."""
        line = candidate.step.line
        if not self.plan.undo or (line is not None and line.state is StateMode.SHARED):
            return None
        return self._shop.knowledge.undoing.state_before(candidate.step.mod_id, redo=self.plan.redo)

    async def _join(self, candidate: Candidate, line: Line) -> None:
        """Give a line that begins, or begins again, what it has of its mod's state."""
        assert candidate.new is not None
        main = self._shop.registry.running(main_of(candidate.step.mod_path))
        if main is None:
            raise HookFailed(f"{main_of(candidate.step.mod_id)} does not run any more")
        candidate.note = line_state.begin(candidate.new, main, line.state)
        if line.state is StateMode.COPY:
            folder = self._shop.around.copy_folder(main.mod_path, candidate.new.mod_path)
            candidate.note += f"; {folder}" if folder else ""

    async def _gate(self, candidates: list[Candidate]) -> None:
        for candidate in self._each(candidates):
            self._check_needs(candidate)
            await self._prepare_transfer(candidate)
        # Callers before callees: what needs another comes after it in a plan.
        for candidate in reversed(candidates):
            if candidate.slot is not None and candidate.old is not None:
                self._undo.append(partial(self._open_gate, candidate))
                candidate.slot.gate.close()

    def _check_needs(self, candidate: Candidate) -> None:
        """Raise NeedUnmet where what the code says of needs and versions does not hold."""
        # Over several hosts the plan has looked at needs: what runs elsewhere is not in this table.
        if candidate.mod_class is not None and candidate.step.line is None and self._pact is None:
            check_needs(candidate, self.candidates, self._shop.registry)

    async def _open_gate(self, candidate: Candidate) -> None:
        if candidate.slot is not None:
            candidate.held = candidate.slot.gate.open()

    async def _drain(self, candidates: list[Candidate]) -> None:
        """Wait for handlers in flight until each has had the drain limit, counted from its own start."""
        await asyncio.gather(*(self._drain_one(each) for each in candidates if each.old is not None))

    async def _drain_one(self, candidate: Candidate) -> None:
        assert candidate.old is not None
        exclusive = candidate.new is not None and candidate.way is HandOver.EXCLUSIVE
        limit = self._shop.limits.exclusive_drain if exclusive else self._shop.limits.drain
        calls = [each for each in candidate.old.handler_calls() if not each.waits]
        if not calls:
            return
        youngest = max(each.started for each in calls)
        left = youngest + limit - time.monotonic()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await candidate.old.idle(but_for_waiting=True)
            except TimeoutError:
                # Those still running linger on their own code.
                return

    async def _hand_over(self, candidates: list[Candidate]) -> None:
        for candidate in self._each(candidates):
            if candidate.transfer is None:
                continue
            self._undo.append(candidate.transfer.back)
            candidate.note = await candidate.transfer.go()
            await self._hand_over_line(candidate)

    async def _hand_over_line(self, candidate: Candidate) -> None:
        """Let a line begin again where its state is to be another, or a mod have the state of its line."""
        step, new, slot = candidate.step, candidate.new, candidate.slot
        if new is None or slot is None:
            return
        if step.line is not None and slot.line is not None:
            before = slot.line
            if (before.state, before.rule.shadow) != (step.line.state, step.line.rule.shadow):
                await self._join(candidate, step.line)
        elif self.plan.keep == "line" and main_of(self.plan.promotes) == step.mod_id:
            line = self._shop.registry.running(self.plan.promotes)
            if line is not None:
                new.instance.state = line_state.copied(line, new)
                candidate.note = f"state of {self.plan.promotes}"

    def _kept_by_modules(self, candidate: Candidate) -> str:
        """The module-level state of a mod that its fresh modules have taken over."""
        kept = self.build.kept if self.build is not None else ()
        own = [name for name in kept if name.rpartition(".")[0] in candidate.step.modules]
        return f"; kept {', '.join(own)}" if own else ""

    async def _initialize(self, candidates: list[Candidate]) -> None:
        for candidate in self._each(candidates):
            assert candidate.new is not None
            if candidate.old is None:
                self._check_needs(candidate)
            if candidate.old is not None and candidate.new.instance is candidate.old.instance:
                candidate.new.handlers = collect_handlers(candidate.new.instance)
                # The instance goes on, and with it what it has read, written and started.
                candidate.new.reads, candidate.new.written = candidate.old.reads, candidate.old.written
                candidate.new.tasks = candidate.old.tasks
                continue
            # Also here: what has started ends before the old one, which may need what it holds, starts again.
            self._undo.append(partial(self._close_new, candidate))
            candidate.started = True
            line = candidate.step.line
            if candidate.step.action is Action.LOAD and line is not None:
                await self._join(candidate, line)
            if candidate.step.action is Action.LOAD and (line is None or line.state is not StateMode.SHARED):
                candidate.note = await self._shop.give_state(candidate.new) or candidate.note
            also = self._shop.knowledge.watched_for(candidate.step.mod_path)
            starts = hooks.initialize(candidate.new, self._shop.limits.initialize, self._shop.is_source, also)
            if hooks.has_initialize(candidate.new.instance):
                work = asyncio.ensure_future(starts)
                doing = partial(self._words, "initialize()", [candidate])
                await self.patience.wait(work, doing, partial(hooks.stack_of, work))
            else:
                await starts
            if candidate.old is not None:
                hooks.give_way(candidate.new.instance, candidate.old.instance)
            if candidate.step.action is Action.LOAD and (line is None or line.state is StateMode.EMPTY):
                await self._shop.around.introduce(candidate.new)

    async def _commit(self, candidates: list[Candidate]) -> None:
        swap = Swap(order=self.plan.order)
        # Nothing live is touched before all else has succeeded.
        for candidate in self._each(candidates):
            if candidate.step.action is Action.RECONFIGURE:
                assert candidate.old is not None
                old, step = candidate.old, candidate.step
                offered = old.whole(step.config) if candidate.settings is None else candidate.settings
                # The one step whose own changes cannot be undone, so it comes last before the swap.
                if not await hooks.reconfigure(old, offered, self._shop.limits.initialize):
                    raise HookFailed(f"{old.mod_id}: update_config() returned False")
        if self.build is not None:
            self.build.keep_state()
        for candidate in candidates:
            candidate.note += self._kept_by_modules(candidate) if candidate.transfer is not None else ""
            self._add_to(swap, candidate)
        self._past = self._replaced(candidates)
        self._shop.registry.commit(swap)
        # The point of no return: what fails from here on is told, and nothing is taken back.
        self._undo.clear()
        keeps = [each.transfer.keep for each in candidates if each.transfer is not None]
        keeps += [partial(hooks.keep, each.new.instance) for each in candidates if each.new is not None]
        if (build := self.build) is not None:
            keeps.append(lambda: build.keep(partial(hooks.may_reach_at_end, [each.old for each in candidates])))
        for keep in keeps:
            try:
                keep()
            except Exception as error:
                # The gates have to open all the same.
                mods = ", ".join(each.step.mod_id for each in candidates)
                self._shop.say(f"{mods}: applied; a fault of oa-dev after it: {type(error).__name__}: {error}")

    def _replaced(self, candidates: list[Candidate]) -> Past | None:
        """What this reload replaces, so that it can be undone; None where no code was replaced or moved."""
        texts = self.build.replaced if self.build is not None else {}
        codes = dict(filter(None, map(_code_before, candidates)))
        if not texts and not codes and not (self.build is not None and self.build.moves_only):
            return None
        numbers, before, states = {}, {}, {}
        for candidate in candidates:
            if candidate.step.action is Action.RELOAD and candidate.new is not None and candidate.transfer is not None:
                numbers[candidate.step.mod_id] = candidate.new.number
                before[candidate.step.mod_id] = candidate.transfer.old.number
                states[candidate.step.mod_id] = candidate.transfer.remembered()
        modules = dict.fromkeys(name for each in candidates for name in each.step.modules)
        ended = next((each.step for each in candidates if each.step.mod_id == self.plan.promotes), None)
        line = ModSpec(ended.mod_path, ended.config, beside=ended.line) if ended is not None else None
        return Past(
            mods=numbers,
            replaced=before,
            modules=tuple(modules),
            texts=texts,
            states=states,
            codes=codes,
            line=line,
        )

    def _add_to(self, swap: Swap, candidate: Candidate) -> None:
        match candidate.step.action:
            case Action.LOAD | Action.RELOAD:
                assert candidate.new is not None
                slot = candidate.slot or self._shop.registry.make_slot(candidate.step.mod_id, candidate.step.mod_path)
                candidate.slot = slot
                swap.live.append((slot, candidate.new))
                if candidate.step.line is not None and candidate.step.line != slot.line:
                    swap.lines.append((slot, candidate.step.line))
            case Action.SPLIT if candidate.slot is not None and candidate.step.line is not None:
                swap.lines.append((candidate.slot, candidate.step.line))
            case Action.UNLOAD if candidate.slot is not None:
                swap.removed.append(candidate.slot)
            case Action.RECONFIGURE if candidate.old is not None:
                candidate.old.config, candidate.old.settings = dict(candidate.step.config), candidate.settings
                candidate.old.configure()
                candidate.note = "in place, no reload"
            case Action.KEEP if candidate.old is not None:
                candidate.old.came_with = ""

    async def _open(self, candidates: list[Candidate]) -> None:
        for candidate in candidates:
            await self._open_gate(candidate)

    async def _close(self, candidates: list[Candidate]) -> None:
        for candidate in candidates:
            old = candidate.old
            if old is not None:
                # Its handlers finish on its own code, for as long as they may linger; `retirement` ends it.
                old.state = ModState.LINGERING
                self._shop.retire(old)

    # Helpers

    def _candidate(self, step: Step) -> Candidate:
        slot = self._shop.registry.find(step.mod_path)
        old = slot.live if slot is not None else None
        line = step.line if step.line is not None or slot is None else slot.line
        code = step.code or (line.code if line is not None else "") or (old.code if old is not None else "")
        return Candidate(replace(step, line=line, code=code), slot, old)

    def _each(self, candidates: list[Candidate]) -> Iterator[Candidate]:
        """The candidates one by one; `at` is the one at work, for the report of a fault."""
        for candidate in candidates:
            self.at = candidate
            yield candidate


async def _call(function: Callable[[], None]) -> None:
    function()


async def _executed(build: Build) -> None:
    build.execute()


def _inside(variables: Mapping[ContextVar[Any], Any]) -> Context:
    inside = copy_context()
    for variable, value in variables.items():
        inside.run(variable.set, value)
    return inside


def _code_before(candidate: Candidate) -> tuple[str, str] | None:
    """Return a mod that got the code of another path, with the path of what it ran before."""
    old, new = candidate.old, candidate.new
    if old is None or new is None or candidate.step.line is not None or old.entry == new.entry:
        return None
    return candidate.step.mod_id, old.code or old.mod_path


_Code = Callable[[Transaction, list[Candidate]], Awaitable[None]]

_PHASES: Mapping[Phase, _Code] = {
    Phase.COMPILE: Transaction._compile,
    Phase.IMPORT: Transaction._import,
    Phase.CONSTRUCT: Transaction._construct,
    Phase.GATE: Transaction._gate,
    Phase.DRAIN: Transaction._drain,
    Phase.HAND_OVER: Transaction._hand_over,
    Phase.INITIALIZE: Transaction._initialize,
    Phase.COMMIT: Transaction._commit,
    Phase.OPEN: Transaction._open,
    Phase.CLOSE: Transaction._close,
}
