"""Replay in a running server: pins, events that are run again, their differences after a save.

Asks the replay process (`replay/host`) and keeps pins; knows events from the recorder. No save
waits for anything here, and no event of it is delivered.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from devserver.agent_network import AgentNetwork
from devserver.errors import DevServerError
from devserver.live.generation import Generation
from devserver.model.event import new_event_id
from devserver.model.facts import Fact, Notice, PinReplayed, PlanDone, Replayed, Status
from devserver.model.observation import Observation
from devserver.model.plan import START
from devserver.model.principal import ADMIN
from devserver.model.trace import EVENT_ID, EVENT_NAME, NUMBER, OK, PARENT, PAYLOAD, event_of_row
from devserver.model.wire_form import form_of
from devserver.network.compare import Skip, steps_of
from devserver.network.recorder import Recorder, rest_of, row_of
from devserver.reload.carry import PackedState, pack_state, packed_keys
from devserver.replay.code import Code, code_before, code_now
from devserver.replay.host import Host, ReplayFailed
from devserver.replay.pins import Pin, PinRefused, Pins, differences_of, noise_of
from devserver.replay.stand import event_of
from devserver.server.private_folder import PrivateFolder

SECONDS = 5.0
"""Seconds for an event that is run again, unless `limits.handler` is shorter."""
NOISE_SECONDS = 1.1
"""Seconds between two runs of the same code: values made of whole seconds differ then."""
SAVE_SECONDS = 2.0
"""Seconds for the pins after a save; those without a turn are told."""
PAUSE_SECONDS = 0.25
"""Seconds without a save until pins are run again, once saves have come faster than pins were run."""
MOST_STATE = 1024 * 1024
"""The most bytes of a mod's state that a pin keeps."""
_MOST_AGENTS = 1000
_MOST_LOOKED = 8
_TIMED = 5
"""How many runs of an event on two generations their times are compared by."""


class Replays:
    """`files`: where pins lie; `redact` removes live secrets from kept values; `tell` gets facts.

    `begin` starts work without a waiting caller.
    """

    def __init__(
        self,
        network: AgentNetwork,
        recorder: Recorder,
        host: Host,
        files: PrivateFolder,
        *,
        redact: Callable[[dict[str, Any]], dict[str, Any]],
        tell: Callable[[Fact], None],
        begin: Callable[[Coroutine[Any, Any, object]], None],
    ) -> None:
        self._network, self._recorder, self._host = network, recorder, host
        self._redact, self._tell, self._begin = redact, tell, begin
        self._pins = Pins(files, self._is_of_this_run)
        self._waiting: list[PlanDone] = []
        self._busy = False
        self._skipped = 0
        self._held_ms = 0.0
        self._looked: dict[str, PackedState] = {}
        """The last shown states, by mod."""
        for each in self._pins.problems:
            tell(Notice(each))

    # Pins

    async def pin(
        self, what: int | Mapping[str, Any], *, name: str | None = None, empty: bool = False
    ) -> dict[str, Any]:
        """Pin an event, by its number or given. Raises DevServerError if that is impossible.
        `empty`: let it begin on fresh mods, instead of on their present state."""
        event, number = self._event(what)
        pin = await self._made(what, self._pins.name_for(event["event_name"], number, name), empty=empty)
        await self._host.drop(pin.name)
        self._pins.put(pin)
        return {**self.described(pin), "held_ms": self._held_ms}

    async def _made(self, what: int | str | Mapping[str, Any], name: str, *, empty: bool) -> Pin:
        """Return a pin that is not kept yet: run twice, with the states of the mods that matter."""
        event, number = self._event(what)
        code, began = self._code, self._begins(event)
        packed: dict[str, PackedState] = {}
        if not empty:
            packed, self._held_ms = await self._packed(self._targets(event))
        seen = await self._seen(code, {**began, "packed": packed})
        asked = set(seen.generations)
        if not empty and not asked <= set(packed):
            # The mods that it has asked in turn begin on their state, too.
            packed, self._held_ms = await self._packed(asked)
            seen = await self._seen(code, {**began, "packed": packed})
        packed = {mod_id: each for mod_id, each in packed.items() if mod_id in asked}
        state = await self._plain(code, packed)
        pin = Pin(
            name=name,
            number=number,
            at=time.time(),
            generations=dict(seen.generations),
            **began,
            state=state,
            accepted=seen,
            packed={mod_id: packed[mod_id] for mod_id, each in state.items() if "lost" in each},
        )
        await asyncio.sleep(NOISE_SECONDS)
        # Values made of the event's own id are noise as well: the next such event has another one.
        again = {**pin.begins(), "event": {**event, "event_id": new_event_id()}}
        pin.noise = noise_of(seen, await self._seen(code, again))
        return pin

    def _is_of_this_run(self, pin: Pin) -> bool:
        """Return whether the recorder knows a pin's event: after a restart in place it does."""
        entry = None if pin.number is None else self._recorder.find(pin.number)
        return entry is not None and json.loads(row_of(entry))[EVENT_ID] == pin.event.get("event_id")

    @property
    def numbers(self) -> set[int]:
        """Return the numbers of the pinned events."""
        return self._pins.numbers

    def pins(self) -> dict[str, Any]:
        """Describe every pin, and the state of replay."""
        return {
            "pins": [self.described(each) for each in self._pins.all()],
            "off": self._host.off,
            "kernel": self._host.kernel,
            "skipped": self._skipped,
            "problems": list(self._pins.problems),
        }

    def described(self, pin: Pin) -> dict[str, Any]:
        """Describe a pin, as the API gives it."""
        last = None if pin.last is None else form_of(pin.last)
        return {
            "name": pin.name,
            "number": pin.known_as,
            "event_name": pin.event_name,
            "at": pin.at,
            "generations": pin.generations,
            "state": {
                mod_id: {"keys": len(each["plain"])} if "plain" in each else {"lost": each["lost"]}
                for mod_id, each in pin.state.items()
            },
            "accepted": pin.accepted.to_dict(),
            "noise": list(pin.noise),
            "ignore": list(pin.ignore),
            "flips": pin.flips,
            "last": last,
        }

    async def accept(self, name: str) -> dict[str, Any]:
        """Accept the present result of a pin. Raises DevServerError."""
        pin = self._found(name)
        if pin.seen is None:
            await self._run_pin(self._code, pin)
        if not self._pins.accept(pin):
            raise PinRefused(f"{pin.name} cannot be accepted: {pin.last.why if pin.last else 'it was not run'}")
        return self.described(pin)

    async def ignore(self, name: str, path: str) -> dict[str, Any]:
        """Stop comparing a path of a pin. Raises DevServerError."""
        pin = self._found(name)
        self._pins.ignore(pin, path)
        return self.described(pin)

    async def remove(self, name: str) -> dict[str, Any]:
        """Forget a pin. Raises DevServerError."""
        pin = self._found(name)
        self._pins.remove(pin)
        await self._host.drop(pin.name)
        return {"removed": pin.name}

    def _found(self, name: str) -> Pin:
        pin = self._pins.find(name)
        if pin is None:
            raise PinRefused(f"there is no pin {name}: oa-dev pins lists them")
        return pin

    # After a save

    def saved(self, done: PlanDone) -> None:
        """Run the pins again after a plan, unless nothing of it was applied. Returns at once. A
        start is not a change: the process that runs them begins with the first one."""
        is_applied = any(each.status is Status.APPLIED for each in done.outcomes)
        if done.plan.cause == START or not len(self._pins) or not is_applied:
            return
        self._waiting.append(done)
        if not self._busy:
            self._busy = True
            self._begin(self._after_saves())

    async def _after_saves(self) -> None:
        try:
            saves: list[PlanDone] = []
            while self._waiting:
                saves, self._waiting = [*saves, *self._waiting], []
                self._skipped = len(saves) - 1
                told = await self._all(saves)
                if not self._waiting:
                    self._tell(told)
                    saves = []
                else:
                    # Of several faster saves the last one counts: work for those before it only slows agents down.
                    await self._pause()
        finally:
            self._busy = False

    async def _pause(self) -> None:
        """Wait until saves pause, however long they go on."""
        waiting = 0
        while len(self._waiting) > waiting:
            waiting = len(self._waiting)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _all(self, saves: list[PlanDone]) -> Replayed:
        began, code = time.monotonic(), self._code
        results: list[PinReplayed] = []
        pins = self._pins.all()
        with suppress(ReplayFailed):  # each pin says so by itself
            await self._host.follow(code, self._network.config)
        latest = time.monotonic() + SAVE_SECONDS
        for pin in pins:
            if self._waiting or (results and time.monotonic() > latest):
                break
            results.append(await self._run_pin(code, pin))
        outcomes = (each for done in saves for each in done.outcomes if each.status is Status.APPLIED)
        return Replayed(
            mods={each.mod_id: each.generation for each in outcomes},
            pins=tuple(results),
            of=len(pins),
            duration_ms=(time.monotonic() - began) * 1000,
            skipped=self._skipped,
        )

    async def _run_pin(self, code: Code, pin: Pin) -> PinReplayed:
        """Run a pin on this code; return the result. Never raises for the mods' exceptions."""
        if pin.lost:
            pin.last = pin.cannot(pin.lost)
            return pin.last
        seconds = self._seconds
        try:
            await self._host.keep(code, self._network.config, pin.name, pin.begins())
            message = {"do": "run", "name": pin.name, "seconds": seconds}
            answer = await self._asked(code, message, seconds)
            if (why := answer.get("cannot") or self._missing(pin)) is not None:
                pin.last, pin.seen = pin.cannot(why), None
            else:
                differed = pin.differed
                pin.note(Observation.from_dict(answer["seen"]))
                if pin.differed and not differed:
                    # A difference that is news has to show twice: chance says nothing about the code.
                    again = await self._asked(code, message, seconds)
                    if "seen" in again:
                        pin.note(Observation.from_dict(again["seen"]))
        except ReplayFailed as error:
            pin.last, pin.seen = pin.cannot(str(error)), None
        assert pin.last is not None
        return pin.last

    def _missing(self, pin: Pin) -> str | None:
        """Return why a pin has no result: a needed mod does not run, or no mod handles it."""
        failed = [f"{mod_id}: {why}" for mod_id, why in self._host.failed.items() if mod_id in pin.generations]
        if failed:
            return "; ".join(failed)
        if pin.generations and not self._targets(pin.event):
            return f"no mod handles {pin.event_name}"
        return None

    # Events that are run again

    async def replay(
        self, what: int | str | Mapping[str, Any], *, payload: Mapping[str, Any] | None = None, on: str = "now"
    ) -> dict[str, Any]:
        """Run an event again: on the running code (`now`), that `before` its last reload, `both`.

        A pin begins on its own state, other events on the present one. Nothing is delivered,
        nothing is kept. Raises DevServerError.
        """
        pin = self._pins.find(what) if isinstance(what, int | str) else None
        if pin is not None:
            begins, number = pin.begins(), pin.known_as
        else:
            event, number = self._event(what)
            packed, _ = await self._packed(self._targets(event))
            begins = {**self._begins(event), "packed": packed}
        if payload is not None:
            begins["event"] = {**begins["event"], "payload": dict(payload)}
        codes = {"now": self._code} if on == "now" else {"before": self._before(begins["event"]), "now": self._code}
        if on == "before":
            del codes["now"]
        runs = [await self._one_run(which, code, begins) for which, code in codes.items()]
        seen = [each["seen"] for each in runs if "seen" in each]
        skip = Skip(frozenset((*pin.noise, *pin.ignore)) if pin is not None else frozenset())
        answer: dict[str, Any] = {
            "number": number,
            "event_name": begins["event"]["event_name"],
            "pin": None if pin is None else pin.name,
            "runs": runs,
        }
        if len(seen) == 2:
            one, two = (Observation.from_dict(each) for each in seen)
            found = differences_of(one, two, Skip(skip.patterns, (one.at, two.at)))
            answer["differences"] = [
                {"path": each.path, "before": each.before, "after": each.after, "kind": each.kind} for each in found
            ]
            answer["took_us"] = {
                which: await self._times(code, begins, int(run["seen"]["took_us"]))
                for run, (which, code) in zip(runs, codes.items(), strict=True)
            }
        return answer

    async def _times(self, code: Code, begins: Mapping[str, Any], first: int) -> list[int]:
        """Return how long an event takes on this code in some runs, in µs; the first is known."""
        runs = [await self._one_run("now", code, begins) for _ in range(_TIMED - 1)]
        return sorted([first, *(int(each["seen"]["took_us"]) for each in runs if "seen" in each)])

    async def _one_run(self, which: str, code: Code, begins: Mapping[str, Any]) -> dict[str, Any]:
        seconds = self._seconds
        answer = await self._asked(code, {"do": "run", **begins, "seconds": seconds}, seconds)
        return {"on": which, "numbers": dict(code.numbers), **answer}

    def _before(self, event: Mapping[str, Any]) -> Code:
        code = code_before(self._network.engine, tuple(self._targets(event))) or code_before(self._network.engine)
        if code is None:
            raise ReplayFailed("there is no generation before: nothing was reloaded that this run remembers")
        return code

    def latest_failed(self) -> int | None:
        """Return the number of the latest event that failed, else that a mod was asked about."""
        latest = None
        for entry in self._recorder.newest():
            row = json.loads(row_of(entry))
            if row[EVENT_NAME].startswith("system.") or row[PARENT]:
                continue
            if not row[OK]:
                return int(row[NUMBER])
            latest = latest or int(row[NUMBER])
        return latest

    async def key(self) -> None:
        """Run the latest event that failed, or else the latest one, and pin it: key p."""
        if self._host.off:
            self._host.try_again()
        number = self.latest_failed()
        if number is None:
            self._tell(Notice("no event has come yet that could be replayed", calm=True))
            return
        try:
            made = await self.pin(number)
        except (DevServerError, OSError) as error:
            self._tell(Notice(f"#{number} cannot be replayed: {error}"))
            return
        seen = Observation.from_dict(made["accepted"])
        ended = "success" if seen.success else seen.message
        if seen.raised:
            ended = f"raised {seen.raised[0].kind} {seen.raised[0].message}"
        self._tell(Notice(f"replayed and pinned #{number} {made['event_name']}: {ended}", calm=True))

    # The replay process

    async def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Ask the replay process about the running code. Raises DevServerError."""
        return await self._asked(self._code, message, seconds)

    async def _asked(self, code: Code, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        answer = await self._host.ask(code, self._network.config, message, seconds)
        # An event that runs again meets the secrets that a state holds, and may answer with them.
        return self._redact(answer)

    @property
    def _code(self) -> Code:
        return code_now(self._network.engine)

    @property
    def _seconds(self) -> float:
        limit = self._network.config.limits.handler
        return min(SECONDS, limit) if limit else SECONDS

    async def _seen(self, code: Code, begins: Mapping[str, Any]) -> Observation:
        answer = await self._one_run("now", code, begins)
        if "cannot" in answer:
            raise ReplayFailed(f"it cannot be replayed: {answer['cannot']}")
        lost = self._host.failed.keys() & set(self._targets(begins["event"]))
        if lost:
            raise ReplayFailed(
                "; ".join(f"{mod_id} cannot be replayed: {self._host.failed[mod_id]}" for mod_id in lost)
            )
        return Observation.from_dict(answer["seen"])

    async def _plain(self, code: Code, packed: Mapping[str, PackedState]) -> dict[str, dict[str, Any]]:
        if not packed:
            return {}
        answer = await self._asked(code, {"do": "plain", "states": dict(packed)}, SECONDS)
        if "cannot" in answer:
            return {mod_id: {"lost": str(answer["cannot"])} for mod_id in packed}
        states: dict[str, dict[str, Any]] = answer["states"]
        return states

    async def _packed(self, mods: Iterable[str]) -> tuple[dict[str, PackedState], float]:
        """Return the present states of mods, and the milliseconds that their thread was held."""
        return await self._network.engine.home.run(self._pack, frozenset(mods))

    async def _pack(self, mods: frozenset[str]) -> tuple[dict[str, PackedState], float]:
        began = time.perf_counter()
        live = (each for each in self._network.engine.registry.live if each.mod_id in mods)
        packed = {each.mod_id: await self._bounded(each) for each in live}
        return packed, (time.perf_counter() - began) * 1000

    async def _bounded(self, generation: Generation) -> PackedState:
        packed = await pack_state(generation, SECONDS)
        size = len(packed.whole or b"") + sum(map(len, packed.parts)) + len(packed.captured or b"")
        if size > 2 * MOST_STATE:
            raise PinRefused(
                f"the state of {generation.mod_id} is larger than {MOST_STATE // 1024 // 1024} MiB: use --state empty"
            )
        return packed

    def _targets(self, event: Mapping[str, Any]) -> list[str]:
        asked, registry = event_of(event), self._network.engine.registry
        if asked.destination.role == "mod":
            slot = registry.find(asked.destination.id)
            return [] if slot is None else [slot.mod_id]
        return [each.mod_id for each in registry.table.targets(asked.event_name)]

    def _event(self, what: int | str | Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
        """Return a kept event and its number. Raises DevServerError."""
        if isinstance(what, Mapping):
            try:
                event_of(what)
            except (ValueError, TypeError) as error:
                raise PinRefused(str(error)) from error
            return dict(what), None
        text = str(what).removeprefix("#")
        if not text.isdecimal() or len(text) > 18:
            raise PinRefused(f"{what!r} is neither the number of an event nor the name of a pin")
        number = int(text)
        entry = self._recorder.find(number)
        if entry is None:
            raise PinRefused(f"#{number} is not kept: oa-dev events --last 20 shows what is")
        row, rest = json.loads(row_of(entry)), rest_of(entry)
        payload = rest.get("payload", row[PAYLOAD])
        if not isinstance(payload, dict):
            why = "secrets travel in such events" if payload is None else f"its payload of {payload} was not kept"
            raise PinRefused(f"#{number} cannot be run again: {why}")
        return event_of_row(row, payload), number

    def _begins(self, event: dict[str, Any]) -> dict[str, Any]:
        directory = self._network.directory
        agents = directory.agents()[:_MOST_AGENTS]
        begins = {
            "event": event,
            "agents": [
                {"agent_id": each.agent_id, "group": each.group, "metadata": dict(each.metadata)} for each in agents
            ],
            "channels": {name: list(directory.channel_members(name)) for name in directory.channels()},
        }
        return self._redact(begins)

    async def begins_now(self) -> tuple[int, dict[str, str], dict[str, Any], dict[str, Any]]:
        """Return the beginning of a session: the number of the latest event before it, digests of sources, states of
        mods, agents with channels.

        A state that is too large, or that plain data cannot hold, is named as lost.
        """
        code, engine = self._code, self._network.engine
        latest, packed, states = await engine.home.run(self._pack_all)
        states |= await self._plain(code, packed)
        sources = {engine.shown(str(path)): digest for path, digest in code.digests.items()}
        return latest, sources, states, self._begins({})

    async def _pack_all(self) -> tuple[int, dict[str, PackedState], dict[str, Any]]:
        """Pack the state of every mod at once where mods run: no event begins between two."""
        latest, packed, lost = self._recorder.mark(), dict[str, PackedState](), dict[str, Any]()
        for each in self._network.engine.registry.live:
            try:
                packed[each.mod_id] = await self._bounded(each)
            except PinRefused as error:
                lost[each.mod_id] = {"lost": str(error)}
        return latest, packed, lost

    # What is made of it

    async def send_again(
        self, what: int | str | Mapping[str, Any], payload: Mapping[str, Any] | None, seen: Mapping[str, int]
    ) -> dict[str, Any]:
        """Really send an event, as a new one; return its answer. `seen`: shown generations.

        Raises DevServerError, also if others run now.
        """
        pin = self._pins.find(what) if isinstance(what, int | str) else None
        values = dict(pin.event) if pin is not None else self._event(what)[0]
        numbers = self._code.numbers
        others = {mod_id: numbers.get(mod_id, 0) for mod_id, number in seen.items() if numbers.get(mod_id) != number}
        if others:
            names = ", ".join(f"{mod_id} v{number}" for mod_id, number in others.items())
            raise PinRefused(f"{names} runs now: look again at what the event does")
        values.pop("event_id", None)
        event = event_of({**values, "payload": dict(payload)} if payload is not None else values)
        answer = await self._network.ingest(event, ADMIN)
        return {**answer.to_dict(), "event_id": event.event_id, "event_name": event.event_name}

    async def test(self, what: int | str, path: str | None) -> dict[str, Any]:
        """Write a test of an event, once it passes: `{path, text, warnings}`. Raises DevServerError or OSError."""
        # Here and not above: rarely needed.
        from devserver.server.written_tests import write_test

        pin = self._pins.find(what) or await self._made(what, "test", empty=False)
        lost = [f"{mod_id}: {each['lost']}" for mod_id, each in pin.state.items() if "lost" in each]
        if lost:
            raise PinRefused(
                f"a test cannot hold this state ({'; '.join(lost)}): oa-dev pin {what} --state empty, then test that"
            )
        answer = await self._one_run("now", self._code, pin.begins())
        if "cannot" in answer:
            raise ReplayFailed(f"it cannot be replayed: {answer['cannot']}")
        seen = Observation.from_dict(answer["seen"])
        if seen.refused:
            raise PinRefused(f"a test would do for real what replay refuses: {', '.join(seen.refused)}")
        return await write_test(self._network.workspace, pin, seen, asked=f"oa-dev test {what}", path=path)

    async def look(self, mod: str, path: str, since: str | None) -> dict[str, Any]:
        """Show one level of a mod's state, or its changes since the last look (`since="look"`) or
        since before its last reload (`since="swap"`).

        Raises DevServerError.
        """
        try:
            steps = steps_of(path)
        except ValueError as error:
            raise PinRefused(str(error)) from error
        slot = self._network.engine.registry.find(mod)
        if slot is None or slot.live is None:
            raise PinRefused(f"no mod {mod} runs here")
        packed, _ = await self._packed([slot.mod_id])
        state, before = packed[slot.mod_id], self._looked.get(slot.mod_id)
        if since == "swap":
            before = await self._network.engine.home.run(self._before_swap, slot.mod_id)
        elif since is not None and before is None:
            raise PinRefused(f"the state of {slot.mod_id} was not looked at before")
        message = {"do": "look", "state": state, "steps": steps, "since": before if since is not None else None}
        answer = await self.ask(message, SECONDS)
        if "cannot" in answer:
            raise PinRefused(f"{path or 'the state'} cannot be shown: {answer['cannot']}")
        if since is None and not steps:
            # To the end of the dict: what was looked at longest ago is dropped first.
            self._looked.pop(slot.mod_id, None)
            self._looked[slot.mod_id] = state
            if len(self._looked) > _MOST_LOOKED:
                del self._looked[next(iter(self._looked))]
        return {"mod_id": slot.mod_id, "path": path, "lost": list(state.lost), **answer["look"]}

    async def _before_swap(self, mod_id: str) -> PackedState:
        """Pack the state of a mod as it was before its last reload; where mods run."""
        before = self._network.engine.knowledge.history.state_before(mod_id)
        if before is None:
            raise PinRefused(f"no state of {mod_id} from before a reload is kept")
        return packed_keys(before.as_it_was())

    # The end, and a restart in place

    def pack(self) -> dict[str, Any]:
        """Return the states of pins that no file can hold, for the next image of this process, as plain values."""
        return {
            pin.name: {mod_id: asdict(each) for mod_id, each in pin.packed.items()}
            for pin in self._pins.all()
            if pin.packed
        }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Continue after an earlier image of this process."""
        for pin in self._pins.all():
            pin.packed = {mod_id: PackedState(**each) for mod_id, each in packed.get(pin.name, {}).items()}

    async def end(self) -> None:
        """End the replay process."""
        await self._host.end()
