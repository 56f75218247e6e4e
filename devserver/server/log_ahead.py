"""Imports structlog before a mod logs for the first time, beside what answers events.

The first record would otherwise wait for that import inside a handler, and every event with it. A network whose mods
never log never pays for it, and the start waits for nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from devserver.agent_network import AgentNetwork
from devserver.model.facts import Fact, PlanDone, Ready, Restarted
from devserver.model.logs import prepare


class LogAhead:
    """Looks after the start and after each change whether a mod may log. `bring` is what is done then, once."""

    def __init__(self, network: AgentNetwork, bring: Callable[[], None] = prepare) -> None:
        self._network, self._bring = network, bring
        self._is_up = self._is_begun = False

    def note(self, fact: Fact) -> None:
        """Note a fact. From any thread."""
        self._is_up = self._is_up or isinstance(fact, Ready | Restarted)
        if self._is_begun or not self._is_up or not isinstance(fact, Ready | Restarted | PlanDone):
            return
        engine = self._network.engine
        changed = {each.mod_id for each in fact.outcomes} if isinstance(fact, PlanDone) else None
        fresh = [each for each in engine.registry.live if changed is None or each.mod_id in changed]
        # By its name alone: `self.log`, or another `log`, which costs an import that is not needed.
        if any("log" in engine.modules.names_around(each.entry) for each in fresh):
            self._is_begun = True
            threading.Thread(target=self._bring, name="oa-dev log", daemon=True).start()
