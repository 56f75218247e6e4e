"""One group of a plan over several hosts, as the host that makes plans carries it out: build, prepare, decide, open.

The tables of who does what when are in `decision`. Here the author asks, counts votes, and writes the one word that
decides. Runs on the control loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from devserver.errors import DevServerError
from devserver.hosts import move
from devserver.hosts.code import Publisher, files_of
from devserver.hosts.decision import Do, Round, Word
from devserver.hosts.follow import Followed
from devserver.hosts.link import Conflict, EngineRefused, Link
from devserver.hosts.members import Members
from devserver.hosts.names import Names
from devserver.hosts.parts import (
    Part,
    failure_from,
    failure_to_dict,
    part_to_dict,
    ran_from,
    sources_from,
    state_from,
    state_to_dict,
)
from devserver.hosts.work import whole_number
from devserver.loader.modules import Reading
from devserver.model.encoding import to_json
from devserver.model.facts import ErrorFacts, Outcome, Status
from devserver.model.lifecycle import Action, Phase
from devserver.model.names import module_of
from devserver.model.plan import Group, Plan, Step
from devserver.model.wire_read import outcome_from_dict
from devserver.reload.carried import Candidate
from devserver.reload.carry import PackedState
from devserver.reload.elsewhere import FailedElsewhere, Ran, StepEnded
from devserver.reload.engine import Engine
from devserver.sources.files import digest_of
from devserver.transports.strict import Malformed, parse_object

_MARGIN = 5.0
"""Seconds that an answer may take beyond what the work itself may."""

_REPORT_SECONDS = 10.0
_AGAIN = 0.1


class Author:
    """The other hosts, as the one that has network.yaml knows them: a `reload.elsewhere.Elsewhere`."""

    def __init__(
        self, link: Link, names: Names, members: Members, *, decisions: Followed, writer: Link, engine: Engine
    ) -> None:
        self.here = members.host
        self.mods: dict[str, Ran] = {}
        self.taken: frozenset[str] = frozenset()
        """The mods (module paths) that this host runs for one that is gone."""
        self.numbers: dict[str, int] = {}
        """The highest generation of each mod that ran on another host: they go on counting wherever it runs."""
        self.revision = 0
        """The last group that hosts were asked to agree on."""
        self.opened = 0
        """The last one of them that was committed."""
        self.seats_until: Callable[[int], Awaitable[object]] = lambda revision: asyncio.sleep(0)
        """Waits until this host knows where mods are, as of a revision."""
        self.link, self.names, self.members = link, names, members
        self.decisions, self.engine = decisions, engine
        self.publisher = Publisher(writer, names)

    def begin(self) -> None:
        """Go on behind what was decided before this process."""
        numbers = [int(key[0]) for key in self.decisions.rows if len(key) == 1 and key[0].isdecimal()]
        self.revision = self.opened = max(numbers, default=0)

    @property
    def hosts(self) -> frozenset[str]:
        """The other hosts that are there."""
        return frozenset(each.host for each in self.members.living)

    def pact(self, group: Group, plan: Plan) -> Agreement | None:
        hosts = dict.fromkeys(host for step in group.steps for host in step.hosts if host)
        if not hosts:
            return None
        self.revision += 1
        return Agreement(self, self.revision, group, plan, tuple(hosts))

    async def ask(self, host: str, phase: str, values: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Ask a host about a group. Never raises: a host that does not answer votes no."""
        try:
            raw = await self.link.request(
                self.names.plan(host), to_json({**values, "phase": phase}), seconds=seconds + _MARGIN
            )
            return parse_object(raw)
        except (DevServerError, Malformed) as error:
            return {"vote": "no", "why": f"host {host} did not answer: {error}"}

    async def written(self, revision: int, row: Mapping[str, Any]) -> Word:
        """Write a word, unless another stands there, and return the one that does.

        A write that is not answered may have been taken: then it is asked for an abort until it is known. Nothing may
        be undone before, and nothing opened: other hosts may have committed.
        """
        wanted = row
        while True:
            try:
                await self.decisions.put((str(revision),), wanted, last=0)
                return Word(str(wanted["word"]))
            except Conflict:
                known = await self._read(revision)
                if known is not None:
                    return known
            except EngineRefused:
                return Word.ABORT  # it was not taken
            except DevServerError:
                wanted = {"word": Word.ABORT.value, "by": self.here}
                await asyncio.sleep(_AGAIN)

    async def _read(self, revision: int) -> Word | None:
        try:
            await self.decisions.read()
        except DevServerError:
            return None
        found = self.decisions.get(str(revision))
        return None if found is None else Word(str(found.values.get("word")))

    def forget(self, host: str) -> None:
        """Forget a host that began again, or ended: nothing runs there."""
        self.mods = {path: ran for path, ran in self.mods.items() if ran.mod.host != host}

    def note(self, host: str, values: Mapping[str, Any]) -> None:
        """Take over what a host says of the mods that it runs."""
        found = {path: ran for path, ran in self.mods.items() if ran.mod.host != host}
        for each in values.get("ran", ()) if isinstance(values.get("ran"), list) else ():
            try:
                ran = ran_from(each, self.engine.roots.workspace, host)
            except (LookupError, TypeError, ValueError):
                continue  # what cannot be read runs all the same, and is asked about again
            found[module_of(ran.mod.mod_path)] = ran
            self.numbers[ran.mod.mod_id] = max(ran.mod.generation, self.numbers.get(ran.mod.mod_id, 0))
        self.mods = found

    async def learn(self, host: str) -> bool:
        """Ask a host what it runs: this process does not know it yet. False where it does not answer."""
        told = await self.ask(host, "tell", {}, _REPORT_SECONDS)
        if "ran" in told:
            self.note(host, told)
        return "ran" in told


class Agreement:
    """One group, until its end: a `reload.elsewhere.Pact`."""

    def __init__(self, author: Author, revision: int, group: Group, plan: Plan, hosts: Sequence[str]) -> None:
        self._author, self.revision = author, revision
        self._group, self._plan, self.hosts = group, plan, hosts
        self._votes = Round(hosts)
        self._no: dict[str, tuple[str, ErrorFacts]] = {}
        self._touched: dict[str, Mapping[str, Any]] = {}
        self._states: dict[str, PackedState] = {}
        self._word: Word | None = None
        self._reports: asyncio.Future[list[dict[str, Any]]] | None = None
        before = author.engine.knowledge.undoing.texts_before(plan) if plan.undo else {}
        self._texts = {path: text.data for path, text in before.items()} or plan.texts
        """The sources that count instead of the disk's."""
        self._ran = author.mods
        """What ran on other hosts before."""
        # What comes here goes on counting, also before it is built.
        author.engine.registry.unpack({each.mod_id: self._number(each) for each in group.steps if not each.host})
        self._old: dict[Path, Reading] = {}
        """The sources that are replaced there."""
        # It builds while this host builds.
        self._building = asyncio.ensure_future(self._build())

    # Phases

    async def before(self, phase: Phase, candidates: Sequence[Candidate]) -> None:
        if phase is Phase.GATE:
            await self._building
            self._go_on()
            self._preparing = asyncio.ensure_future(self._prepare(self._without_arrivals()))
            # Their gates shut while this host's do: it is sent before the handlers' thread takes its turn.
            with suppress(DevServerError):
                await self._author.link.flush()
            if any(step.action is Action.MOVE and not step.host for step in self._group.steps):
                # What comes here needs the state that another host hands over.
                await self._preparing
                self._go_on()
                # The mods that come here get their states from the host that had them.
                engine = self._author.engine
                for path, state in self._states.items():
                    engine.moving[path] = partial(move.give, state=state, limit=engine.limits.initialize)
            return
        await self._preparing
        self._go_on()
        await self._pack(candidates)
        await self._prepare([host for host in self.hosts if host not in self._without_arrivals()])
        self._go_on()
        await self._decide()
        for each in candidates:
            if each.slot is not None and (goes_to := self._leaving().get(each.step.mod_path)):
                each.slot.host = goes_to  # what waits at its gate is asked there

    def _leaving(self) -> dict[str, str]:
        """The mods (paths) that leave this host, each with where it goes."""
        moves = (each for each in self._group.steps if each.action is Action.MOVE and not each.leaves)
        return {each.mod_path: each.host for each in moves}

    def _go_on(self) -> None:
        """Raise FailedElsewhere where a host has voted no."""
        for mod_id, facts in self._no.values():
            raise FailedElsewhere(mod_id, facts)

    async def _build(self) -> None:
        engine, author = self._author.engine, self._author
        steps = {host: self._steps_of(host) for host in self.hosts}
        brought = (each for own in steps.values() for each in own if each.action in (Action.LOAD, Action.RELOAD))
        wanted = {*(each.mod_path for each in brought), *(each.mod.mod_path for each in author.mods.values())}
        roots, texts = engine.roots, self._texts
        files = await engine.worker.run(partial(files_of, wanted, roots.workspace, engine.knowledge.written(), texts))
        changed = tuple(
            path.relative_to(roots.workspace).as_posix()
            for path in (self._plan.changed or self._texts)
            if path.is_relative_to(roots.workspace)
        )
        order = [each.mod_id for each in engine.knowledge.as_it_runs().live]
        parts = {
            host: Part(
                revision=self.revision,
                cause=self._plan.cause,
                steps=own,
                order=self._plan.order or tuple(order),
                numbers={each.mod_id: self._number(each) for each in own},
                changed=changed,
                undo=self._plan.undo,
                redo=self._plan.redo,
            )
            for host, own in steps.items()
        }
        code = author.publisher.revision(files)
        along = code.along()
        asked = {host: {**part_to_dict(part), "code": along} for host, part in parts.items()}
        try:
            await self._keep_old(files)
            # Small code goes along with the ask, and is published while the hosts build it.
            publishing = asyncio.ensure_future(author.publisher.publish(self.revision, code))
            if along is None:
                await publishing
            await self._all("build", asked, engine.limits.imports, Do.VOTE_BUILT)
            # A host that misses the decision finds the code there: before that is written, it is.
            await publishing
        except DevServerError as error:
            facts = ErrorFacts("EngineAway", f"the code could not be published: {error}")
            self._no[author.here] = self._group.steps[0].mod_id, facts

    async def _keep_old(self, files: Mapping[str, bytes]) -> None:
        """Keep what is replaced on other hosts: an undo brings it back. Raises EngineAway and others."""
        workspace = self._author.engine.roots.workspace
        for ran in self._reloaded().values():
            for name, facts in ran.modules.items():
                old, new = ran.made_from[name].get(facts.path), files.get(facts.path.relative_to(workspace).as_posix())
                if old is not None and new is not None and digest_of(new) != old and facts.path not in self._old:
                    data = await self._author.publisher.published(old)
                    if data is not None:
                        self._old[facts.path] = Reading(facts.path, data, old)

    def _reloaded(self) -> dict[str, Ran]:
        """The mods of other hosts that are reloaded, by id, as they ran before."""
        steps = [each for each in self._group.steps if each.action is Action.RELOAD and each.host]
        found = {each.mod_id: self._ran.get(module_of(each.mod_path)) for each in steps}
        return {mod_id: ran for mod_id, ran in found.items() if ran is not None}

    async def _prepare(self, hosts: Sequence[str]) -> None:
        limits = self._author.engine.limits
        states = {path: state_to_dict(state) for path, state in self._states.items()}
        asked = {host: {"revision": self.revision, "states": states} for host in hosts}
        await self._all("prepare", asked, limits.exclusive_drain + limits.initialize, Do.VOTE_READY)

    async def _all(self, phase: str, asked: Mapping[str, Any], seconds: float, vote: Do) -> None:
        """Ask these hosts at once, and note how each votes."""
        answers = await asyncio.gather(*(self._author.ask(h, phase, each, seconds) for h, each in asked.items()))
        for host, values in zip(asked, answers, strict=True):
            if values.get("vote") == vote.value:
                self._votes.voted(host, vote)
                for path, state in dict(values.get("states") or {}).items():
                    self._states[str(path)] = state_from(state)
            else:
                self._touched[host] = values.get("touched") or {}
                mod_id, facts = failure_from(values)
                self._votes.voted(host, Do.UNDO, str(facts))
                self._no[host] = (
                    mod_id or self._group.steps[0].mod_id,
                    replace(facts, message=f"{facts.message} (on {host})"),
                )

    async def _decide(self) -> None:
        """Write commit, and go on as it stands written. Raises FailedElsewhere for an abort."""
        row = {"word": Word.COMMIT.value, "hosts": [self._author.here, *self.hosts]}
        self._word = await self._author.written(self.revision, row)
        if self._word is not Word.COMMIT:
            facts = ErrorFacts("Aborted", "a host has waited too long, and aborted it")
            raise FailedElsewhere(self._group.steps[0].mod_id, facts)
        self._author.opened = self.revision
        self._reports = self._ask_reports({"word": self._word.value})

    def _ask_reports(self, told: Mapping[str, Any]) -> asyncio.Future[list[dict[str, Any]]]:
        """Tell all hosts what stands written, which may come before they can read it, and ask what they did."""
        asked = (
            self._author.ask(h, "report", {**told, "revision": self.revision}, _REPORT_SECONDS) for h in self.hosts
        )
        return asyncio.gather(*asked)

    async def end(self, failure: ErrorFacts | None, mod_id: str) -> Sequence[StepEnded]:
        await asyncio.gather(self._building, return_exceptions=True)
        told: dict[str, Any] = {} if self._word is None else {"word": self._word.value}
        if failure is not None and self._word is None:
            told = row = {"word": Word.ABORT.value, "hosts": list(self.hosts), **failure_to_dict(mod_id, failure)}
            try:
                await self._author.decisions.put((str(self.revision),), row, last=0)
            except DevServerError:
                told = {}  # a host has aborted it already; or it cannot be written, and a host that waits asks itself
        reports = await (self._reports or self._ask_reports(told))
        await self._author.seats_until(max(whole_number(each.get("seats")) for each in reports))
        ended: list[StepEnded] = []
        for host, values in zip(self.hosts, reports, strict=True):
            ended += self._ended(host, values, failure, mod_id)
        return ended

    def _ended(
        self, host: str, values: Mapping[str, Any], failure: ErrorFacts | None, mod_id: str
    ) -> Sequence[StepEnded]:
        if "ran" in values:
            self._author.note(host, values)
        told = _outcomes(values)
        touched = sources_from(self._touched.get(host), self._author.engine.roots.workspace)
        before, ended = self._reloaded(), []
        for step in self._steps_of(host):
            outcome = replace(told.get(step.mod_id) or self._untold(step, failure, mod_id), host=host)
            ran = before.get(step.mod_id)
            paths = [] if ran is None else [each.path for each in ran.modules.values()]
            texts = {path: self._old[path] for path in paths if path in self._old}
            ended.append(StepEnded(step, outcome, touched, 0 if ran is None else ran.mod.generation, texts))
        return ended

    def _untold(self, step: Step, failure: ErrorFacts | None, mod_id: str) -> Outcome:
        """What is said of a step whose host does not answer."""
        number = self._number(step)
        lost = ErrorFacts("HostLost", "its host does not answer; it follows when it is back")
        note = f"rolled back because {mod_id} failed" if failure is not None and mod_id != step.mod_id else ""
        return Outcome(
            step.action,
            step.mod_id,
            step.mod_path,
            Status.ROLLED_BACK if number else Status.FAILED,
            phase=Phase.GATE,
            generation=number,
            duration_ms=0.0,
            reason=step.reason,
            error=failure or lost,
            note=note,
        )

    # Steps and states

    def _steps_of(self, host: str) -> tuple[Step, ...]:
        """What a host does of the group: of a move, an unload or a load. For it, all of that is here."""
        found = []
        for step in self._group.steps:
            if step.action is Action.MOVE and host in step.hosts:
                comes = step.host == host
                action, goes_to = (Action.LOAD, "") if comes else (Action.UNLOAD, step.host or self._author.here)
                found.append(replace(step, action=action, host="", leaves=goes_to, listed=comes))
            elif step.action is not Action.MOVE and step.host == host:
                found.append(replace(step, host="", otherwise=None))
        return tuple(found)

    def _without_arrivals(self) -> list[str]:
        """The hosts that need no state of another one first."""
        coming = {step.host for step in self._group.steps if step.action is Action.MOVE}
        return [host for host in self.hosts if host not in coming]

    def _number(self, step: Step) -> int:
        ran = self._author.mods.get(module_of(step.mod_path))
        if ran is not None:
            return ran.mod.generation
        return max(self._author.engine.registry.next_number(step.mod_id) - 1, self._author.numbers.get(step.mod_id, 0))

    async def _pack(self, candidates: Sequence[Candidate]) -> None:
        """Pack the states of the mods that leave this host: no handler of theirs runs any more."""
        leaving = self._leaving()
        engine = self._author.engine
        room = move.room_in(self._author.link.most_bytes)
        for each in candidates:
            if each.old is not None and each.step.mod_path in leaving:
                state = await engine.home.run(move.packed, each.old, engine.limits.initialize, room)
                room -= move.weight_of(state)
                self._states[module_of(each.step.mod_path)] = state


def _outcomes(values: Mapping[str, Any]) -> dict[str, Outcome]:
    """The outcomes that a host has told, by mod."""
    found = {}
    for each in values.get("outcomes") or ():
        try:
            outcome = outcome_from_dict(each)
        except (LookupError, TypeError, ValueError):
            continue  # a host of another version may tell what this one cannot read
        found[outcome.mod_id] = outcome
    return found
