"""Notes the results of a group of steps: in the engine's memory, and the modules' table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devserver.live.registry import Registry
from devserver.loader.modules import LoadedModules
from devserver.model.facts import AgentsSeen, ErrorFacts, Outcome, Status
from devserver.model.lifecycle import Action
from devserver.model.names import module_of
from devserver.model.plan import Step
from devserver.model.split import main_of
from devserver.reload.carried import Candidate, Carried
from devserver.reload.elsewhere import StepEnded
from devserver.reload.knowledge import Knowledge
from devserver.reload.outcomes import outcome_of, skipped_outcome
from devserver.reload.restarting import Restarting


class Bookkeeping:
    """Makes the outcome of each step, and notes what it changed."""

    def __init__(self, knowledge: Knowledge, modules: LoadedModules, registry: Registry, restarts: Restarting) -> None:
        self._knowledge = knowledge
        self._modules = modules
        self._registry = registry
        self._restarts = restarts

    def outcomes(self, carried: Carried, error: ErrorFacts | None, agents: AgentsSeen) -> list[Outcome]:
        """Return the outcome of each step of a group, after noting it."""
        outcomes = [self._restarts.told(outcome_of(each, carried, error, agents)) for each in carried.candidates]
        for candidate, outcome in zip(carried.candidates, outcomes, strict=True):
            self._knowledge.remember(candidate, outcome, carried)
            if outcome.status is Status.APPLIED and outcome.action is Action.UNLOAD and candidate.old is not None:
                # Modules that only this mod was made from take memory for nothing.
                graph = self._modules.graph()
                entries = {each.entry for each in self._registry.live}
                alone = [
                    name for name in graph.closure(candidate.old.entry) if entries.isdisjoint(graph.dependents([name]))
                ]
                self._modules.forget(alone)
                self._end_line(candidate)
            elif outcome.status is Status.APPLIED and outcome.action is Action.LOAD:
                # Let saves of a mod go to its line, if that is the mod's own file on disk.
                line, main = candidate.step.line, self._registry.running(main_of(candidate.step.mod_path))
                if line is not None and not line.code and main is not None:
                    self._knowledge.pin(main)
            if outcome.status is Status.APPLIED:
                # A restart in place does not bring back what a person has unloaded though network.yaml lists it.
                path = module_of(outcome.mod_path)
                spec = self._knowledge.specs.get(path)
                if outcome.action is Action.UNLOAD and candidate.step.listed and spec is not None and spec.enabled:
                    self._restarts.unloaded.add(path)
                elif outcome.action is not Action.UNLOAD:
                    self._restarts.unloaded.discard(path)
        return outcomes

    def outcomes_elsewhere(self, ended: Sequence[StepEnded]) -> list[Outcome]:
        """Return the outcome of each step of a group on other hosts, after noting it."""
        for each in ended:
            self._knowledge.remember_elsewhere(each)
        return [each.outcome for each in ended]

    def _end_line(self, candidate: Candidate) -> None:
        """Let saves of a mod go to it again, if they went to the line that has ended."""
        line, path = candidate.step.line, module_of(candidate.step.mod_path)
        if line is None:
            return
        spec = self._knowledge.specs.get(path)
        if spec is not None:
            self._knowledge.ended[path] = spec
        if line.code == path:
            self._modules.lines.folders.pop(path, None)
        elif not line.code:
            self._modules.lines.folders.pop(path, None)
            main = self._registry.running(main_of(path))
            if main is not None:
                self._knowledge.unpin(main)

    def skipped(self, step: Step, missing: Mapping[str, str]) -> Outcome:
        """Note a step that is skipped because its needs did not load; return its outcome."""
        outcome = skipped_outcome(
            step, f"it needs {', '.join(missing.values())}, which did not load", self.number(step)
        )
        self._knowledge.skipped(step, outcome, tuple(missing))
        return outcome

    def number(self, step: Step) -> int:
        """Return the live generation of the mod of a step; 0 for none."""
        elsewhere = self._knowledge.elsewhere
        if elsewhere is not None and (ran := elsewhere.mods.get(module_of(step.mod_path))) is not None:
            return ran.mod.generation
        live = self._registry.running(step.mod_path)
        return 0 if live is None else live.number
