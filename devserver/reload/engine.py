"""The owner of the reload stream: takes triggers in turn, has them planned and carried out, tells.

The only place that changes what runs. `plan` decides, `apply` carries out; here is the queue
between them, and the memory of attempts.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from devserver.errors import DevServerError, HookFailed
from devserver.live.generation import Call, Generation, running_calls
from devserver.live.loops import Home, Worker
from devserver.live.registry import Registry
from devserver.loader.build import Build
from devserver.loader.environment import Environment
from devserver.loader.finder import WatchedFinder
from devserver.loader.modules import LoadedModules, Reading
from devserver.model.change import (
    ConfigChanged,
    FilesChanged,
    LineAsked,
    LoadAsked,
    PartAsked,
    RestartAsked,
    Sources,
    TidyAsked,
    Trigger,
)
from devserver.model.config import ModSpec, NetworkConfig, PlaceOf
from devserver.model.facts import Fact, Holder, Notice, Outcome, PlanDone, PlanMade, Status
from devserver.model.lifecycle import Action, Limits, ModState
from devserver.model.names import mod_id_of, module_of
from devserver.model.plan import Group, Plan, Step
from devserver.model.split import StateMode, label_of, main_of
from devserver.reload import hooks
from devserver.reload.apply import Transaction
from devserver.reload.bookkeeping import Bookkeeping
from devserver.reload.code_changes import CodeChanges
from devserver.reload.echoes import Echoes
from devserver.reload.elsewhere import Pact, as_moves, here_of, not_the_author, past_of_all
from devserver.reload.error_facts import ForPeople
from devserver.reload.history import Past
from devserver.reload.knowledge import Knowledge
from devserver.reload.locator import Locator
from devserver.reload.lock_news import use_packages
from devserver.reload.news import ModNews
from devserver.reload.opinion import SecondOpinion
from devserver.reload.outcomes import all_held, held_outcome, keys_named, skipped_outcome, with_holders
from devserver.reload.patience import GivenUp
from devserver.reload.plan import Situation, make_plan, reasons_of
from devserver.reload.proof import Proof
from devserver.reload.restarting import Restarting
from devserver.reload.retirement import Retirement
from devserver.reload.surroundings import Surroundings
from devserver.sources.files import digest_of
from devserver.sources.imports import read_elsewhere
from devserver.sources.roots import Roots

SAVED_AGAIN = "given up, because it was saved again"
OTHERS_FIRST = "waits, because another save came while it took long"

Asked = tuple[Trigger, asyncio.Future[PlanDone]]


class Engine:
    """Carries out triggers, in order.

    Arguments: `config`, what the process starts with; `workspace`, the folder of network.yaml;
    `home`, where mods run; `around`, the network; `tell`, told every fact.
    """

    def __init__(
        self, config: NetworkConfig, workspace: Path, home: Home, around: Surroundings, tell: Callable[[Fact], None]
    ) -> None:
        self.home, self.around, self._tell = home, around, tell
        self.worker: Worker
        self.registry = Registry(config.limits.held_events)
        self.roots = Roots(workspace)
        people = ForPeople(self.roots)
        self.facts_of, self.shown, self.is_own, self.where = people.facts_of, people.shown, people.is_own, people.where
        self.modules = LoadedModules()
        self.environment = Environment(self.roots, self.modules)
        """The packages from outside the workspace, as the lock names them."""
        self.knowledge = Knowledge(config, self.roots, self.modules, self.registry, self.environment)
        self.locate = Locator(self.knowledge, self.roots, self.modules, self.environment, workspace / "network.yaml")
        self.agents_first = 0.002
        """Seconds for the answers of held events after a swap, before any follow-up work."""
        self.reloads = self.failures = 0
        self.tried: list[str] = []
        """The lines that a person tried and that ended with this network, by id."""
        self.kept_state: Callable[[Generation], str] = lambda generation: ""
        """Gives a mod that is being loaded its state of before a crash; returns the result."""
        self.restarts = Restarting()
        self.restarts.on_arrival = self.knowledge.undoing.came
        self._books = Bookkeeping(self.knowledge, self.modules, self.registry, self.restarts)
        self._opinion = SecondOpinion(
            restarts=self.restarts,
            knowledge=self.knowledge,
            registry=self.registry,
            home=home,
            ask_restart=self._queue_unwaited,
        )
        self.on_config: list[Callable[[NetworkConfig], None]] = []
        """Called with a changed network.yaml."""
        self._finder = WatchedFinder(self.roots, self.modules)
        self._echoes = Echoes(self.shown)
        self._retirement = Retirement(self.registry, lambda: self.limits, tell, self.facts_of)
        self.is_source, self.retire = self._finder.watches_data, self._retirement.begin
        states = lambda: [each.kept for each in self.registry.live]  # noqa: E731
        self.proof = Proof(home, self._stale, states, lambda: self._finder.hangs)
        """Whether replaced code is gone."""
        self._news = ModNews(
            self.registry, home, lambda: self.limits, tell=tell, facts_of=self.facts_of, where=self.knowledge.place_in
        )
        self._queue: asyncio.Queue[Asked] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._worker: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: Transaction | None = None
        self.touched: Sources = {}
        """The sources that the last group depended on."""
        self.author = ""
        """The host that makes the plans, where that is another one."""
        self._pact_of: Callable[[Group, Plan], Pact | None] = lambda group, plan: None
        self.moving: dict[str, Callable[[Generation], Awaitable[str]]] = {}
        """Gives a mod (by module) that comes from another host its state; returns the result in words."""
        self._code = CodeChanges(self.modules, self.shown)
        self._afterwards: list[Build] = []
        self._named: set[str] = set()
        """The keys of states that were told to run replaced code, as the census calls them."""

    @property
    def config(self) -> NetworkConfig:
        """What network.yaml asks for, with the settings that need a restart as they run."""
        return self.knowledge.config

    @property
    def limits(self) -> Limits:
        """How long things may take."""
        return self.config.limits

    @property
    def lasting(self) -> tuple[Generation, ...]:
        """The live mods whose state outlasts this process: not lines that are tried, or share a state."""
        slots = [each for each in self.registry.slots if each.line is None or each.line.state is StateMode.COPY]
        return tuple(each.live for each in slots if each.live is not None and (each.line is None or each.live.listed))

    # Life

    def start(self) -> None:
        """Take triggers from now on, in the running loop."""
        if self._worker is not None:
            return
        self._finder.install()
        self._use_lock()
        self.worker = Worker("oa-dev build")
        self._loop = asyncio.get_running_loop()
        self._queue = asyncio.Queue()
        # Empty context: work for a trigger is no part of the call that submitted it.
        self._worker = self._loop.create_task(self._work(self._queue), context=contextvars.Context())

    async def stop(self) -> None:
        """End every mod and take no more triggers. Python's table has no modules of mods then."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
            self._worker = None
            self.worker.stop(wait=0.5)
        self.proof.stop()
        while self._queue is not None and not self._queue.empty():
            _, done = self._queue.get_nowait()
            if not done.done():
                done.set_exception(DevServerError("the network has ended"))
        self.tried = [each.mod_id for each in self.registry.live if label_of(each.mod_id) and not each.listed]
        await self.home.run(self._end_all)
        self.modules.forget(list(self.modules.current))
        self.modules.lines.pins.clear()
        self._finder.remove()
        self.environment.end()

    def pack(self) -> dict[str, Any]:
        """Return the facts about mods that this process's next image needs, as plain values."""
        return {
            "numbers": self.registry.pack(),
            "reloads": self.reloads,
            "failures": self.failures,
            "tried": self.tried,
            **self.restarts.facts(),
            "history": self.knowledge.history.pack(),
        }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image of this process. Call it before the first trigger."""
        self.registry.unpack(packed["numbers"])
        self.reloads, self.failures = packed["reloads"], packed["failures"]
        for each in packed.get("tried", ()):
            again = f"oa-dev try {main_of(each)} tries it again"
            self._tell(Notice(f"{each} ended with the restart: the code on disk runs for all agents now; {again}"))
        self.restarts.unpack(packed)
        if "history" in packed:
            self.knowledge.history.unpack(packed["history"])

    def lingering(self) -> list[Generation]:
        """Return the replaced generations whose handlers still run. For any thread."""
        return self._retirement.lingering()

    async def _end_all(self) -> None:
        await self._retirement.end_all(reversed(self.registry.live))
        self.registry.clear()

    async def submit(self, trigger: Trigger) -> PlanDone:
        """Carry a trigger out, after those that came before it. For any loop."""
        if self._loop is not None and asyncio.get_running_loop() is not self._loop and self._loop.is_running():
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.submit(trigger), self._loop))
        self.start()
        assert self._queue is not None
        done: asyncio.Future[PlanDone] = asyncio.get_running_loop().create_future()
        calls = tuple(running_calls())
        # A hook that a change waits for cannot wait for a change: each would wait for the other.
        for call in calls:
            if call.event is None and call.generation.state in (ModState.STARTING, ModState.LIVE):
                words = "a hook cannot wait for a change of mods, which waits for it; start a task for that"
                raise HookFailed(f"{call.generation.mod_id}: {words}")
        self._queue.put_nowait((trigger, done))
        self._hurry(trigger)
        if not calls:
            return await done
        await self.home.run(_mark, calls, True)
        try:
            return await done
        finally:
            await self.home.run(_mark, calls, False)

    def _hurry(self, trigger: Trigger) -> None:
        """Give up slow work whose source was saved again, or for which another save waits."""
        running = self._running
        if running is None or not isinstance(trigger, FilesChanged):
            return
        if not running.depends_on.isdisjoint(trigger.changed):
            running.patience.give_up(SAVED_AGAIN, at_once=True)
        elif running.plan.changed:
            # It is a save, too, and has its turn after the other one.
            running.patience.give_up(OTHERS_FIRST, at_once=False)

    def plan(self, trigger: Trigger) -> Plan:
        """Return the plan for a trigger, in the present situation. Changes nothing."""
        return make_plan(trigger, self.knowledge.foreseen(trigger))

    async def foresee(self, trigger: Trigger) -> Plan:
        """Return the plan for a trigger, as `plan`, and let this loop go on meanwhile."""
        return await read_elsewhere(self.plan, trigger)

    async def _work(self, queue: asyncio.Queue[Asked]) -> None:
        while True:
            trigger, done = await queue.get()
            await self._open.wait()
            if isinstance(trigger, RestartAsked) and (others := _without_restarts(queue)):
                # Last of all: this process carries out earlier requests, not the next image.
                for each in (*others, (trigger, done)):
                    queue.put_nowait(each)
                    queue.task_done()
                continue
            try:
                result = await self._carry_out(trigger)
            except asyncio.CancelledError:
                done.cancel()
                raise
            except Exception as error:
                # A fault of ours goes to the caller and does not end the stream.
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)
            # Bookkeeping deferred until agents are answered; must finish before the next plan.
            if self._afterwards and queue.empty():
                await asyncio.sleep(self.agents_first)
            while self._afterwards:
                # Without a name for it: this frame lasts, and a build holds the modules that it replaced.
                try:
                    await self.worker.run(self._afterwards.pop().read_imports)
                except Exception as error:
                    self._tell(Notice(f"imports could not be read: {type(error).__name__}: {error}"))
            queue.task_done()

    async def quiet(self) -> None:
        """Wait until all triggers so far are done."""
        if self._queue is not None:
            await self._queue.join()

    async def rest(self) -> None:
        """Take no more triggers, once all so far are done; `go_on` ends that."""
        await self.quiet()
        self._open.clear()

    def go_on(self) -> None:
        """Take triggers again."""
        self._open.set()

    def restart(self, reasons: tuple[str, ...]) -> None:
        """Ask for a restart in place, because a change cannot be swapped in. From any thread."""
        if self._loop is not None and self._queue is not None:
            self._loop.call_soon_threadsafe(self._queue_unwaited, RestartAsked("restart needed", reasons))

    def _queue_unwaited(self, trigger: Trigger) -> None:
        """Queue a trigger without a caller: its result is told, and its failure, too."""
        assert self._queue is not None and self._loop is not None
        done: asyncio.Future[PlanDone] = self._loop.create_future()
        done.add_done_callback(self._failed_unwaited)
        self._queue.put_nowait((trigger, done))

    def _failed_unwaited(self, done: asyncio.Future[PlanDone]) -> None:
        error = None if done.cancelled() else done.exception()
        # Without a worker the network has ended, and its triggers with it.
        if error is not None and self._worker is not None:
            self._tell(Notice(f"a change could not be carried out: {type(error).__name__}: {error}"))

    # One trigger

    async def _restart(self, trigger: RestartAsked) -> PlanDone:
        """Decide on a restart and tell it. The server replaces the process, after the answer."""
        mark, moves = self.around.agents_mark(), partial(self.restarts.moves, self.lasting, self.limits.initialize)
        situation = await self.restarts.known(await read_elsewhere(self.knowledge.situation, trigger))
        plan = make_plan(trigger, replace(situation, state_moves=await self.home.run(moves)))
        assert plan.restart is not None
        if self.restarts.note(plan) or trigger.by_person:
            self._tell(PlanMade(plan))
        if not plan.restart.waits and self.restarts.replace is not None:
            self.restarts.replace(plan)
        return PlanDone(plan, (), 0.0, self.around.agents_since(mark))

    async def _carry_out(self, trigger: Trigger) -> PlanDone:
        if isinstance(trigger, RestartAsked):
            return await self._restart(trigger)
        self.restarts.forget_foreseen()
        began, mark = time.monotonic(), self.around.agents_mark()
        self.knowledge.look(trigger)
        if (installed := use_packages(trigger, self.environment, self._use_lock, self.roots.workspace)) is not None:
            self._tell(installed)
        situation = await read_elsewhere(self.knowledge.situation, trigger)
        plan = await self._decided(trigger, situation)
        if isinstance(trigger, ConfigChanged):
            self.restarts.keep_settings(reasons_of(plan))
            for notice in self.knowledge.take_config(trigger.config):
                self._tell(notice)
            for take in self.on_config:
                take(self.config)
        forth = self.knowledge.undo(plan) if plan.undo else None
        if not plan.empty:
            self._tell(PlanMade(plan))
        before, arrived = self._code.before(plan), self.restarts.sources(each.mod_path for each in plan.steps)
        outcomes = [held_outcome(hold, self.registry, self.locate.config_file) for hold in plan.holds]
        if outcomes:
            self.knowledge.hold(plan.holds, outcomes, situation)
        self.locate.begin_plan(obey=isinstance(trigger, LoadAsked) and not trigger.trusted)
        pasts: list[Past] = []
        # The host that has planned it tells all agents.
        is_told_there = isinstance(trigger, PartAsked) and trigger.pact is not None
        for group in plan.groups:
            came = await self._carry_group(group, plan, outcomes, mark, pasts)
            for outcome in came:
                outcomes.append(outcome)
                if not is_told_there:
                    self.around.announce(outcome)
            await self._news.look(came)
        is_ours = not plan.undo and not self.author and not any(each.host for each in outcomes)
        outcomes = await self._opinion.on(outcomes, self.limits) if is_ours else outcomes
        if forth is not None:
            self.environment.settle(forth, went=bool(pasts))
        lines = self._noted(trigger, plan, pasts, outcomes)
        self._echoes.note(plan)
        took = (time.monotonic() - began) * 1000
        if any(each.replaced_code for each in pasts) or any(each.error is not None for each in outcomes):
            holders = await self.proof.at_once()
            outcomes = [with_holders(each, holders.get(each.mod_id, ())) for each in outcomes]
        agents, code = self.around.agents_since(mark), self._code.changed(plan, before, arrived)
        done = PlanDone(plan, tuple(outcomes), took, agents, all_held(outcomes), code=code)
        mended = self.knowledge.settle(trigger, plan)
        for notice in mended:
            self._tell(notice)
        if outcomes or plan.not_applied:
            self._tell(done)
        self._follow_up(plan, mended)
        if (then := await self._lines_back(lines) or await self._tidied(outcomes)) is not None:
            done = replace(done, then=then)
        if any(each.reason == OTHERS_FIRST for each in outcomes):
            self._queue_unwaited(FilesChanged(plan.changed, texts=plan.texts))
        if plan.needs_restart:
            self.restart(plan.needs_restart)
        return done

    async def _decided(self, trigger: Trigger, situation: Situation) -> Plan:
        """Return what a trigger leads to, and note with whom its groups are agreed on."""
        elsewhere = self.knowledge.elsewhere
        if self.restarts.arrivals:
            # These ran before the restart in place: to load them fails, and then they go on.
            absent = {path: why for path, why in situation.absent.items() if not self.restarts.former(path)}
            situation = replace(situation, absent=absent)
        if isinstance(trigger, PartAsked):
            self.registry.unpack(trigger.numbers)
            self._pact_of = lambda group, plan: trigger.pact
        elif elsewhere is not None:
            self._pact_of = elsewhere.pact
        elif self.author and not isinstance(trigger, ConfigChanged):
            return not_the_author(trigger, self.author)
        plan = await read_elsewhere(make_plan, trigger, situation)
        return self._echoes.held(plan) if isinstance(trigger, FilesChanged) else plan

    def _noted(self, trigger: Trigger, plan: Plan, pasts: Sequence[Past], done: Iterable[Outcome]) -> Sequence[ModSpec]:
        """Note for undos what was carried out; return the lines that an undo brings back."""
        if plan.undo:
            return self.knowledge.history.went(pasts, redo=plan.redo)
        if not isinstance(trigger, TidyAsked) and not (isinstance(trigger, LineAsked) and trigger.again):
            # Undoing the mods that need it unloads it as well.
            along = {each.mod_id for each in plan.steps if each.came_with and each.action is Action.LOAD}
            own = [each for each in done if each.mod_id not in along and each.action is not Action.KEEP]
            self.knowledge.history.applied(pasts, own, of_code=not isinstance(trigger, ConfigChanged))
        return ()

    async def _lines_back(self, lines: Iterable[ModSpec]) -> PlanDone | None:
        """Load the lines whose promotion was undone beside their mods again, each as a plan of its own."""
        done = None
        for spec in lines:
            if spec.beside is not None and self.registry.find(spec.path) is None:
                main, cause = main_of(spec.path), f"the promotion of {mod_id_of(spec.path)} was undone"
                done = await self._carry_out(LineAsked(main, spec.beside, spec.config, cause, again=True))
        return done

    async def _tidied(self, outcomes: Iterable[Outcome]) -> PlanDone | None:
        """Unload mods that others needed and no longer need, as a plan of its own."""
        if self.author or not self.knowledge.has_spare():
            return None
        failed = (each.mod_id for each in outcomes if each.status is not Status.APPLIED)
        trigger = TidyAsked(tuple(failed))
        return None if (await self.foresee(trigger)).empty else await self._carry_out(trigger)

    def _follow_up(self, plan: Plan, mended: Sequence[Notice]) -> None:
        """Repeat attempts that were waiting for mods that this plan has loaded."""
        # They failed on the code that an undo brings back.
        revived = {} if plan.undo else self.knowledge.revived(plan)
        if revived:
            self._queue_unwaited(FilesChanged(revived))
        if (reasons := reasons_of(plan)) and self.restarts.replace is not None:
            self._queue_unwaited(RestartAsked(plan.cause, reasons))
        elif self.restarts.waiting and (plan.steps or mended):
            # The reason for waiting may be gone now.
            self._queue_unwaited(RestartAsked("restart needed"))

    def _stale(self, holders: tuple[Holder, ...]) -> None:
        """Ask for a restart, because replaced code is not gone; what the reload has named belongs to the state."""
        if not {each.what for each in holders} <= self._named:
            self.restart(tuple(f"old code of {one.module} v{one.generation} is held by {one.what}" for one in holders))

    def _use_lock(self) -> None:
        """Take the packages that the lock on disk names, or tell why that cannot be."""
        if problem := self.knowledge.use_lock():
            self._tell(Notice(problem))

    async def _carry_group(
        self, group: Group, plan: Plan, before: Sequence[Outcome], mark: int, pasts: list[Past]
    ) -> list[Outcome]:
        # Most groups need nothing, and at a start there is one for each mod.
        came = {module_of(each.mod_path) for each in before if each.status is Status.APPLIED} if group.needs else set()
        missing = {path: wish for path, wish in group.needs.items() if path not in came}
        if missing:
            return [self._books.skipped(step, missing) for step in group.steps]
        pact = self._pact_of(group, plan)
        own = group if pact is None else Group(tuple(filter(None, (here_of(each) for each in group.steps))))
        self._running = transaction = Transaction(self, own, plan, pact)
        try:
            carried = await transaction.run()
        finally:
            self._running = None
        self.touched = carried.touched
        error = self.facts_of(carried.failure.error) if carried.failure is not None else None
        # Whatever became of it here, the others wait to hear it.
        ended = () if pact is None else await pact.end(error, carried.failure.mod_id if carried.failure else "")
        if transaction.build is not None:
            self._code.tried.update({path: each.data for path, each in transaction.build.texts.items()})
        if carried.failure is not None and isinstance(carried.failure.error, GivenUp):
            return [skipped_outcome(step, str(carried.failure.error), self._books.number(step)) for step in group.steps]
        if transaction.build is not None and carried.failure is not None:
            self.proof.expect_failed(transaction.build.remains)
        elif transaction.build is not None:
            self._afterwards.append(transaction.build)
            pairs = [(c.old, c.new) for c in carried.candidates if c.old is not None and c.new is not None]
            self.proof.expect(transaction.build.remains, [old for old, _ in pairs])
            if pairs and group is plan.groups[-1]:
                # The first answers of the new code come before what is noted and told of it.
                await asyncio.sleep(self.agents_first)
            if reasons := await read_elsewhere(hooks.outdated, transaction.build, pairs):
                self.restart(reasons)
        if (past := past_of_all(carried.past, ended)) is not None:
            pasts.append(past)
        others = tuple(each.otherwise for each in group.steps if each.otherwise is not None)
        if carried.failure is not None and others:
            return await self._carry_group(Group(others), plan, before, mark, pasts)
        outcomes = self._books.outcomes(carried, error, self.around.agents_since(mark))
        if carried.failure is not None and not plan.former:
            outcomes = await self._go_on(group, plan, outcomes, mark)
        if pact is not None and self.knowledge.elsewhere is not None:
            outcomes += self._books.outcomes_elsewhere(ended)
            outcomes = as_moves(group.steps, outcomes, self.knowledge.elsewhere.here)
        self._named.update(*map(keys_named, outcomes))
        self.reloads += sum(each.status is Status.APPLIED and each.action is Action.RELOAD for each in outcomes)
        self.failures += sum(each.status is not Status.APPLIED for each in outcomes)
        if carried.failure is not None and transaction.build is not None:
            transaction.build.show_lines()
        return outcomes

    async def _go_on(self, group: Group, plan: Plan, failed: list[Outcome], mark: int) -> list[Outcome]:
        """Load mods that a restart would take down from their former sources; return outcomes."""
        former = {path: data for each in group.steps for path, data in self.restarts.former(each.mod_path).items()}
        if not former:
            return failed
        touched = self.touched
        came = await self._carry_group(group, replace(plan, former=former), (), mark, [])
        outcomes = [
            replace(each, status=Status.ROLLED_BACK, generation=now.generation, note=now.note)
            if now.status is Status.APPLIED
            else each
            for each, now in zip(failed, came, strict=True)
        ]
        for each in outcomes:
            self.knowledge.goes_on(each, touched)
        return outcomes

    # For `apply`

    def build(self, modules: Sequence[str], entries: Sequence[str], plan: Plan) -> Build:
        """Return a build of these modules: as on disk, or, to undo a reload, as before it."""
        wanted = set(modules)
        affected = [name for name in self.modules.graph().affected(modules) if name in wanted] if wanted else []
        needed = self.modules.sources(affected)
        texts: dict[Path, Reading]
        texts, unpinned = self.knowledge.undoing.texts_before(plan) if plan.undo else {}, ""
        texts |= {path: Reading(path, data, digest_of(data)) for path, data in plan.former.items()}
        line = self.registry.find(plan.promotes) if plan.promotes else None
        if line is not None and line.live is not None and line.line is not None and not line.line.code:
            # The sources that the line runs, whatever has been saved since and failed.
            texts, unpinned = {**self.knowledge.texts_of(line.live)}, main_of(line.mod_path)
        changed = {path: digest for path, digest in plan.changed.items() if path in needed}
        return Build(self._finder, affected, entries, changed, read=plan.texts, texts=texts, unpinned=unpinned)

    async def give_state(self, generation: Generation) -> str:
        """Give a mod that is being loaded its state of before a restart; return the result."""
        if (give := self.moving.pop(module_of(generation.mod_path), None)) is not None:
            return await give(generation)
        moved = await self.restarts.give_state(generation, self.limits.initialize)
        return moved or self.kept_state(generation)

    def place_of_config(self, step: Step) -> PlaceOf | None:
        """Return where network.yaml has a step's configuration, if it is the one it brings."""
        spec = self.knowledge.specs.get(module_of(step.mod_path))
        return spec.place_of if spec is not None and spec.config == step.config else None

    def say(self, words: str) -> None:
        """Tell a person about slow work."""
        self._tell(Notice(words, calm=True))

    def ending(self, blocked: Sequence[FrameType] = ()) -> str:
        """Return the mod whose shutdown() runs, and its line, or "". For any thread; may be outdated.

        `blocked`: the frames of the mods' thread.
        """
        if (ending := self._retirement.ending) is None:
            return ""
        generation, task = ending
        return f"{generation.mod_id}{self.where(blocked) or (self.where(hooks.stack_of(task)) if task else '')}"

    def replace_worker(self) -> None:
        """Replace the worker, which a function blocks."""
        self.worker.stop()
        self.worker = Worker("oa-dev build")


def _without_restarts(queue: asyncio.Queue[Asked]) -> list[Asked]:
    """Take everything out of a queue that has other triggers than restarts; else nothing."""
    waiting = [queue.get_nowait() for _ in range(queue.qsize())]
    if all(isinstance(trigger, RestartAsked) for trigger, _ in waiting):
        for each in waiting:
            queue.put_nowait(each)
            queue.task_done()
        return []
    return waiting


async def _mark(calls: Iterable[Call], waits: bool) -> None:
    for call in calls:
        call.generation.waits(call, waits)
