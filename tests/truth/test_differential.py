"""What is told of a save is true: random programs of mods under random edits answer as a fresh process does.

After "applied" (or "nothing to do") every answer is that of a fresh process with the same files and the same state.
After a failure every answer is that of before, and a fresh process fails in the same way. Where the reload says that a
restart in place is needed, or names a key of the state, that is what is true.

A failure prints the smallest program that was found to show it. OA_TRUTH_SEED picks one program alone.
"""

from __future__ import annotations

import difflib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from truth_programs import Edit, Program, random_edit, random_program
from truth_sides import Side, warm_process

EDITS = 10
"""How many edits a program lives through."""
_SHRINKING = 60.0
"""Seconds that a failure may take to be made smaller."""


@dataclass(frozen=True, slots=True)
class Untrue:
    """What was told and is not so."""

    what: str
    question: str = ""
    live: str = ""
    fresh: str = ""
    said: str = ""

    def __str__(self) -> str:
        lines = (("asked", self.question), ("running", self.live), ("expected", self.fresh), ("told", self.said))
        return "\n".join([self.what, *(f"  {name + ':':10}{text}" for name, text in lines if text)])


class Run:
    """One program that runs, is edited, and is compared after each edit."""

    def __init__(self, address: str, folder: Path, program: Program) -> None:
        self.address, self.folder = address, folder
        self.running = self.written = program
        """What serves, and what is on disk."""
        self._files: dict[str, str] = {}
        self._write(folder / "live", program, self._files)
        self.live = Side(address)
        failed = self.live.start(folder / "live")
        assert failed == {}, failed
        self._fill()

    def close(self) -> None:
        """End the network."""
        self.live.close()

    def edit(self, edit: Edit) -> Untrue | None:
        """Save an edit; what is told of it and is not true, if anything."""
        if edit.acts:
            self._fill()
        before = self._answers(self.live, self.running)
        self.written = edit.on(self.written)
        self._write(self.folder / "live", self.written, self._files)
        outcomes = self.live.look()
        said = "; ".join(f"{each['mod']} {each['status']}: {each['said']} {each['stale'] or ''}" for each in outcomes)
        if failed := {each["mod"] for each in outcomes if each["status"] != "applied"}:
            return self._failed(failed, before, said)
        if self.written.broken:
            # Nothing failed, so nothing that runs is made from what is broken; or it was broken before, in this way.
            return self._failed(set(), before, said) if self._fresh_failures() else None
        self.running = self.written
        return self._applied(outcomes, said)

    def _failed(self, failed: set[str], before: Sequence[str], said: str) -> Untrue | None:
        changed = self._changed(before, said)
        if changed is not None and not self.live.restart_reasons(patient=True):
            # What only garbage held is gone.
            changed = self._changed(before, said)
        if changed is not None:
            return changed
        if not failed or self.live.restart_reasons():
            return None
        answers, alone = self._fresh(self.written, ())
        # What a handler imports fails when it runs; here it is tried before.
        fails = set(alone) & failed or any(each.startswith("error:") for each in answers)
        return None if fails else Untrue("a fresh process does not fail", "", str(failed), str(alone), said)

    def _changed(self, before: Sequence[str], said: str) -> Untrue | None:
        for question, old, now in zip(self.running.world().questions, before, self._running_answers(), strict=True):
            if old != now:
                return Untrue("a failed save changed what runs", f"{question.mod}: {question.text}", now, old, said)
        return None

    def _applied(self, outcomes: Sequence[dict[str, Any]], said: str) -> Untrue | None:
        told = self._told()
        fresh, failures = self._fresh(self.running, told)
        if failures:
            return Untrue("a fresh process does not load this", "", "applied", str(failures), said)
        stale = {(each["mod"], key) for each in outcomes for key in each["stale"]}
        untrue = self._compare(self._answers(self.live, self.running), fresh, stale, said)
        if untrue is None and not stale:
            return None
        if untrue is not None and not self.live.restart_reasons(patient=True):
            again = self._compare(self._answers(self.live, self.running), fresh, stale, said)
            if again is not None:
                return again
        if stale or self.live.restart_reasons():
            self._restart(told)
        return None

    def _compare(
        self, live: Sequence[str], fresh: Sequence[str], stale: set[tuple[str, str]], said: str
    ) -> Untrue | None:
        for question, mine, theirs in zip(self.running.world().questions, live, fresh, strict=True):
            if mine != theirs and (question.mod, question.key) not in stale:
                return Untrue("stale", f"{question.mod}: {question.text}", mine, theirs, said)
        return None

    # The sides

    def _running_answers(self) -> list[str]:
        return self._answers(self.live, self.running)

    @staticmethod
    def _answers(side: Side, program: Program) -> list[str]:
        return side.ask([(each.mod, each.text) for each in program.world().questions])

    def _fill(self) -> None:
        """Have handlers do what handlers do to states."""
        problems = self.live.run([(each.mod, each.fill) for each in self.running.world().kept])
        assert problems == [], problems

    def _told(self) -> list[tuple[str, str]]:
        """The states as statements that make the same ones."""
        kept = self.running.world().kept
        plain = self.live.ask([(each.mod, each.tell) for each in kept])
        for each, text in zip(kept, plain, strict=True):
            if text.startswith("error:"):
                # Its shape is that of an earlier version.
                self.live.run([(each.mod, each.fill)])
        plain = self.live.ask([(each.mod, each.tell) for each in kept])
        return [(each.mod, f"plain = {text}\n{each.make}") for each, text in zip(kept, plain, strict=True)]

    def _fresh(self, program: Program, told: Sequence[tuple[str, str]]) -> tuple[list[str], dict[str, str]]:
        """The answers of a fresh process, and which mods it could not load."""
        folder = self.folder / "fresh"
        shutil.rmtree(folder, ignore_errors=True)
        self._write(folder, program, {})
        with closing(Side(self.address)) as side:
            failures = side.start(folder)
            problems = [] if failures else side.run(told)
            assert problems == [], (problems, told)
            return [] if failures else self._answers(side, program), failures

    def _fresh_failures(self) -> dict[str, str]:
        return self._fresh(self.written, ())[1]

    def _restart(self, told: Sequence[tuple[str, str]]) -> None:
        """Do what the server would do."""
        self.live.close()
        self.live = Side(self.address)
        failed = self.live.start(self.folder / "live")
        assert failed == {}, failed
        self.live.run(told)

    @staticmethod
    def _write(folder: Path, program: Program, files: dict[str, str]) -> None:
        """Write what differs from `files`, which are then those of the program."""
        wanted = program.files()
        for name in files.keys() - wanted.keys():
            (folder / name).unlink()
        for name, text in wanted.items():
            if files.get(name) != text:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
        files.clear()
        files.update(wanted)


# Failures, made smaller


def tried(address: str, program: Program, edits: Sequence[Edit]) -> tuple[int, Untrue] | None:
    """The first edit after which something untrue is told, and what."""
    with tempfile.TemporaryDirectory(prefix="oa-truth-") as folder, ExitStack() as stack:
        run = stack.enter_context(closing(Run(address, Path(folder), program)))
        for number, edit in enumerate(edits):
            if (untrue := run.edit(edit)) is not None:
                return number, untrue
    return None


def smaller(program: Program, edits: Sequence[Edit]) -> Iterator[tuple[Program, Sequence[Edit]]]:
    """Programs and edits with one thing less."""
    for index in range(len(edits)):
        yield program, [*edits[:index], *edits[index + 1 :]]
    numbers = {each.number for each in program.pieces} | {put.number for each in edits for put in each.put}
    for number in numbers:
        less = [replace(each, put=tuple(p for p in each.put if p.number != number)) for each in edits]
        yield replace(program, pieces=tuple(p for p in program.pieces if p.number != number)), less
    for index, edit in enumerate(edits):
        if edit.acts:
            yield program, [*edits[:index], replace(edit, acts=False), *edits[index + 1 :]]
    for piece in program.pieces:
        for mod in piece.mods if len(piece.mods) > 1 else ():
            mods = tuple(each for each in piece.mods if each != mod)
            yield _with_mods(program, edits, piece.number, mods)


def _with_mods(
    program: Program, edits: Sequence[Edit], number: int, mods: tuple[str, ...]
) -> tuple[Program, Sequence[Edit]]:
    def less(pieces: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(replace(each, mods=mods) if each.number == number else each for each in pieces)

    return replace(program, pieces=less(program.pieces)), [replace(each, put=less(each.put)) for each in edits]


def shrunk(address: str, program: Program, edits: Sequence[Edit], untrue: Untrue) -> str:
    """The smallest program and edits that show the like of it, as text."""
    end, progress = time.monotonic() + _SHRINKING, True
    while progress and time.monotonic() < end:
        progress = False
        for fewer, less in smaller(program, edits):
            if time.monotonic() > end:
                break
            try:
                found = tried(address, fewer, less)
            except (AssertionError, OSError):
                continue
            if found is not None and found[1].what == untrue.what:
                program, edits, untrue, progress = fewer, less[: found[0] + 1], found[1], True
                break
    return _shown(program, edits, untrue)


def _shown(program: Program, edits: Sequence[Edit], untrue: Untrue) -> str:
    before = program.files()
    used = {name for name in before if program.pieces and name.endswith(".py") and "lib" not in name}
    lines = [f"# {name}\n{before[name]}" for name in sorted(before) if before[name] and name in used | _libs(before)]
    for edit in edits:
        program = edit.on(program)
        after = program.files()
        lines.append(f"# edit: {edit.words}{', after handlers have filled states' if edit.acts else ''}")
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name, "").splitlines(), after.get(name, "").splitlines()
            lines += difflib.unified_diff(old, new, name, name, n=0, lineterm="")
        before = after
    return "\n".join([*lines, "", str(untrue)])


def _libs(files: dict[str, str]) -> set[str]:
    return {name for name in files if name.startswith(("mods/lib/", "mods/data/")) and files[name].strip()}


def check(address: str, seed: int) -> None:
    """Let one random program live through its edits."""
    rng = random.Random(seed)
    first = program = random_program(rng)
    past, edits = [program], []
    for _ in range(EDITS):
        edits.append(random_edit(rng, program, past))
        program = edits[-1].on(program)
        past.append(program)
    found = tried(address, first, edits)
    if found is not None:
        number, untrue = found
        text = shrunk(address, first, edits[: number + 1], untrue)
        pytest.fail(f"seed {seed}, edit {number}\n{text}", pytrace=False)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where sides come from."""
    with warm_process() as found:
        yield found


_ONE = os.environ.get("OA_TRUTH_SEED")
SEEDS = [int(each) for each in _ONE.split(",")] if _ONE else range(10)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_told_of_a_save_is_true(address: str, seed: int) -> None:
    """A hundred edits of ten programs; the two thousand below are slow."""
    check(address, seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(20))
def test_what_is_told_of_two_thousand_saves_is_true(address: str, part: int) -> None:
    """Ten programs and a hundred edits each."""
    for seed in range(1000 + part * 10, 1010 + part * 10):
        check(address, seed)
