"""Moves a mod to another host: writes `runs_on` into network.yaml, as a person would, and waits for the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from devserver.control.tape import Tape
from devserver.market.folder import write_whole
from devserver.model.facts import Outcome, Status
from devserver.model.names import mod_id_of, module_of
from devserver.model.wire_read import plan_done_from_dict
from devserver.transports.strict import Malformed

PATIENCE = 60.0
"""Seconds that the effects are waited for: imports and initialize() have shorter limits of their own."""


class Moving:
    """Moves of one network. `reloads`: the results of all plans; `is_held`: whether saves wait for a person."""

    def __init__(self, path: Path, reloads: Tape[dict[str, Any]], is_held: Callable[[], bool]) -> None:
        self._path, self._reloads, self._is_held = path, reloads, is_held

    async def move(self, mod: str, to: str, *, here: str, hosts: Collection[str]) -> dict[str, Any]:
        """Bring a mod, by path or id, to a host; what was written is taken back where it does not get there.

        `here`: this host; `hosts`: those that are there. Raises Malformed where it cannot be tried.
        """
        if self._is_held():
            raise _refusal("the server does not apply saves by itself now: oa-dev resume")
        if to not in hosts:
            raise _refusal(f"host {to} has not joined; the hosts are {', '.join(sorted(hosts))}")
        # Here and not above: few networks have several hosts, and a restart in place reads no YAML.
        from devserver.config.network_yaml import parse_network
        from devserver.market.yaml_edit import CannotEdit, set_in_mod

        before = self._path.read_bytes()
        specs = {
            name: each for each in parse_network(before).mods for name in (mod_id_of(each.path), module_of(each.path))
        }
        spec = specs.get(module_of(mod))
        if spec is None:
            raise _refusal(f"network.yaml lists no mod {mod!r}")
        mod_id = mod_id_of(spec.path)
        if (spec.runs_on or here) == to:
            raise _refusal(f"{mod_id} runs on {to} already, as network.yaml says")
        try:
            edited = set_in_mod(before.decode(), spec.path, "runs_on", None if to == here else to)
        except CannotEdit as error:
            raise _refusal(str(error)) from error
        after = self._reloads.number
        write_whole(self._path, edited.text.encode())
        outcome, why = await self._outcome(spec.path, after)
        good = outcome is not None and outcome.status is Status.APPLIED
        if not good:
            write_whole(self._path, before)
        why = why if outcome is None else outcome.note if good else str(outcome.error or outcome.reason)
        held = None if outcome is None else outcome.held
        told = {"events": held.events, "longest_ms": held.longest_ms} if held is not None else None
        return {"success": good, "mod_id": mod_id, "to": to, "note": why, "held": told}

    async def _outcome(self, mod_path: str, after: int) -> tuple[Outcome | None, str]:
        """Wait for what becomes of a mod; why that is unknown, in words."""
        until = time.monotonic() + PATIENCE
        while (left := until - time.monotonic()) > 0 and not self._reloads.closed:
            for number, row in await self._reloads.wait_after(after, left):
                after = number
                if "refused" in row:
                    return None, "network.yaml cannot be used"
                if "restarted" not in row:
                    ended = [each for each in plan_done_from_dict(row).outcomes if each.mod_path == mod_path]
                    if ended:
                        return ended[-1], ""
        return None, f"nothing came of it within {PATIENCE:g} s"


def _refusal(sentence: str) -> Malformed:
    return Malformed("cannot_move", sentence, 409)
