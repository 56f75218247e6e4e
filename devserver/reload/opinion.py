"""A second opinion on a failed reload: is the code at fault, or what this process ran before?

A fresh process is asked (the server owns processes). If it loads the code that failed here, a
restart in place applies it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from devserver.live.loops import Home
from devserver.live.registry import Registry
from devserver.model.change import RestartAsked
from devserver.model.facts import Outcome, Status, Way
from devserver.model.lifecycle import Action, Limits, Phase, RestartPolicy
from devserver.model.names import module_of
from devserver.model.split import label_of
from devserver.reload.attempts import Attempt
from devserver.reload.knowledge import Knowledge
from devserver.reload.restarting import Restarting

WAIT_SECONDS = 0.5
"""How long an author waits for a save's error while a fresh process is asked; it may correct it."""

_DOUBTFUL = frozenset({Phase.IMPORT, Phase.CONSTRUCT, Phase.HAND_OVER, Phase.INITIALIZE})
"""The phases whose failure may come from code that ran before. A compile error never does."""


class SecondOpinion:
    """Arguments: `ask_restart` queues a trigger that nothing waits for."""

    def __init__(
        self,
        *,
        restarts: Restarting,
        knowledge: Knowledge,
        registry: Registry,
        home: Home,
        ask_restart: Callable[[RestartAsked], None],
    ) -> None:
        self._restarts = restarts
        self._knowledge = knowledge
        self._registry = registry
        self._home = home
        self._ask_restart = ask_restart

    async def on(self, outcomes: list[Outcome], limits: Limits) -> list[Outcome]:
        """Return the outcomes but reloads that load in a fresh process: they wait for a restart."""
        doubtful = [each for each in outcomes if _may_be_ours(each)]
        rehearse = self._restarts.rehearse
        if not doubtful or rehearse is None or self._knowledge.config.restart.policy is RestartPolicy.NEVER:
            return outcomes
        names = {each.mod_id for each in doubtful}
        live = [each for each in self._registry.live if each.mod_id in names]
        states = await self._home.run(self._restarts.pack, live, limits.initialize)
        wanted = {module_of(each.path): dict(each.config) for each in self._knowledge.config.enabled_mods}
        # As a fresh start would load them: with network.yaml's configuration, not the failed one.
        states = {path: replace(each, config=wanted.get(path, each.config)) for path, each in states.items()}
        # Both at once: where the save is brought by a restart, agents wait for neither.
        self._restarts.foresee(frozenset(map(module_of, states)))
        trial = asyncio.ensure_future(rehearse(states, doubtful[0].phase))
        attempts = {each.mod_path: self._knowledge.failed.get(each.mod_path) for each in doubtful}
        await asyncio.wait((trial,), timeout=WAIT_SECONDS)
        if not trial.done():
            trial.add_done_callback(lambda ended: self._act_on(ended, doubtful, attempts))
            return outcomes
        if not self._act_on(trial, doubtful, attempts):
            return outcomes
        # So that the restart begins when this is told, and the old code answers nothing in between.
        await self._restarts.foreseen(WAIT_SECONDS)
        return [_waiting(each) if each in doubtful else each for each in outcomes]

    def _act_on(
        self, trial: asyncio.Future[bool], doubtful: Sequence[Outcome], attempts: Mapping[str, Attempt | None]
    ) -> bool:
        """Let a restart apply mods that failed in this process alone; return whether it does."""
        failed = self._knowledge.failed
        if any(failed.get(path) is not attempt for path, attempt in attempts.items()):
            return False
        # A rehearsal that was not possible proves nothing.
        if trial.cancelled() or trial.exception() is not None or not trial.result():
            self._restarts.forget_foreseen()
            return False
        for path, attempt in attempts.items():
            if attempt is not None:
                # Still an attempt on the code on disk: it is not repeated here.
                failed[path] = replace(attempt, loads_elsewhere=True)
        reasons = tuple(
            f"{each.mod_id} cannot be reloaded in place, a fresh process loads it ({each.error})" for each in doubtful
        )
        self._ask_restart(RestartAsked("restart needed", reasons))
        return True


def _may_be_ours(outcome: Outcome) -> bool:
    # A restart does not bring a line: a person tries its code.
    failed = outcome.status is Status.ROLLED_BACK and outcome.error is not None and label_of(outcome.mod_id) is None
    # What a restart has brought fails in a process that has run nothing before.
    is_reload = outcome.action is Action.RELOAD and outcome.way is Way.IN_PLACE
    return failed and is_reload and outcome.phase in _DOUBTFUL


def _waiting(outcome: Outcome) -> Outcome:
    """Return a failed reload as one that was left to a restart: the author's code is right."""
    why = f"fails in place ({outcome.error}), and is brought by a restart in place"
    return replace(outcome, status=Status.SKIPPED, way=Way.RESTART, error=None, reason=why, note="")
