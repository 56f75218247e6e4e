"""Plans: those of the running server, or worked out from network.yaml. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from devserver.cli.client import NotRunning, connect
from devserver.errors import ConfigError, DevServerError
from devserver.model.facts import ErrorFacts
from devserver.model.lifecycle import Action
from devserver.model.plan import Group, Hold, NotApplied, Plan, Step
from devserver.model.wire_form import plan_to_dict
from devserver.model.wire_read import error_from_dict

if TYPE_CHECKING:
    from devserver.model import forms


class Planned(NamedTuple):
    """Plans in their wire form, or why they are missing."""

    plans: list[forms.PlanForm]
    problems: tuple[ErrorFacts, ...] = ()


def planned(path: Path) -> Planned:
    """Return what the files on disk would change in the running network, or what a start does."""
    try:
        answer = connect(path.parent).get("plan")
    except NotRunning:
        return _of_a_start(path)
    try:
        return Planned(list(answer["plans"]), tuple(error_from_dict(each) for each in answer["problems"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DevServerError("the server's answer is of another version: start it again") from error


def _of_a_start(path: Path) -> Planned:
    # Here and not above: a running server does not need it.
    from devserver.agent_network import AgentNetwork
    from devserver.model.change import ConfigChanged

    try:
        network = AgentNetwork.load(path)
    except ConfigError as error:
        return Planned([], error.problems)
    network.engine.environment.begin()
    made = network.plan(ConfigChanged(network.config, cause="start"))
    return Planned([plan_to_dict(made)])


def plan_of(values: Mapping[str, Any]) -> Plan:
    """Return a plan from its wire form: steps, reasons, and settings that are not applied."""
    steps = tuple(Step(Action(each["action"]), each["mod_id"], "", each["reason"]) for each in values["steps"])
    holds = tuple(Hold(Action(each["action"]), each["mod_id"], each["reason"]) for each in values["holds"])
    settings = (NotApplied(each["setting"], each["running"], each["wanted"]) for each in values["not_applied"])
    return Plan(values["cause"], (Group(steps),) if steps else (), holds, tuple(settings))
