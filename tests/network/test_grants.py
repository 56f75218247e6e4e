"""A granted id is registered with a proof: by no one else first, by no one else later."""

import pytest

from devserver.errors import EventRefused
from devserver.model.config import AgentGroup, NetworkConfig
from devserver.network.agents import Directory
from devserver.network.grants import grant_notes, proving_groups

TEAM = AgentGroup("team", "hash-t")
CREW = AgentGroup("crew", "hash-c")
LISTING = AgentGroup("crew", "hash-c", metadata={"agents": ["agent:tester"]})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def config_with(*groups: AgentGroup, **settings) -> NetworkConfig:
    grants = {"tester": ("mods:write",), "boss": ("admin",), "nothing": ()}
    return NetworkConfig("test", grants=grants, groups={each.name: each for each in groups}, **settings)


def code_of(function, *arguments, **keywords) -> str:
    with pytest.raises(EventRefused) as refused:
        function(*arguments, **keywords)
    return refused.value.code


@pytest.mark.parametrize("agent_id", ["tester", "boss"])
def test_a_name_alone_registers_no_granted_id(agent_id):
    """Neither first, nor after its holder was silent for any time, nor when the holder has left."""
    clock = Clock()
    agents = Directory(config_with(), clock=clock)
    assert code_of(agents.register, agent_id, {}, near=True) == "proof_required"
    holder = agents.register(agent_id, {}, trusted=True).agent
    clock.now += 100_000
    assert code_of(agents.register, agent_id, {}, near=True) == "proof_required"
    agents.socket_opened(holder)
    agents.socket_closed(holder, dropped=True)
    assert code_of(agents.register, agent_id, {}, near=True) == "proof_required"
    agents.unregister(agent_id)
    assert code_of(agents.register, agent_id, {}, near=True) == "proof_required"


def test_an_id_without_grants_needs_none():
    """An empty list grants nothing."""
    agents = Directory(config_with())
    assert agents.register("nothing", {}).agent.proven is False
    assert agents.register("ana", {}).agent.proven is False


def test_a_look_alike_does_not_keep_a_granted_id_out():
    """`Tester` would otherwise be registered first, and `tester` refused for looking like it."""
    agents = Directory(config_with())
    assert code_of(agents.register, "Tester", {}) == "agent_id_taken"
    assert agents.register("tester", {}, trusted=True).agent.proven
    capital = Directory(NetworkConfig("test", grants={"Boss": ("admin",)}))
    assert code_of(capital.register, "boss", {}) == "agent_id_taken"


@pytest.mark.parametrize(
    ("groups", "password", "proves"),
    [
        ((TEAM,), "hash-t", True),
        ((TEAM,), "", False),
        ((TEAM,), "hash-t2", False),
        ((TEAM, CREW), "hash-t", False),
        ((TEAM, LISTING), "hash-t", False),
        ((TEAM, LISTING), "hash-c", True),
        ((AgentGroup("open"), TEAM), "", False),
        ((AgentGroup("guest", "hash-g"),), "hash-g", False),
        ((AgentGroup("guest", "hash-g", metadata={"agents": ["tester"]}),), "hash-g", True),
    ],
)
def test_the_password_of_its_own_group_proves_an_id(groups, password, proves):
    """That of the group which lists it, or of the only one with a password; not one that every agent knows."""
    agents = Directory(config_with(*groups))
    if proves:
        assert agents.register("tester", {}, password_hash=password).agent.proven
    else:
        assert code_of(agents.register, "tester", {}, password_hash=password) == "proof_required"


def test_the_secret_proves_what_its_registration_had_proven():
    """An agent that registered before its id was granted anything stays without, until it proves itself."""
    agents = Directory(config_with(TEAM))
    agents.reconfigure(NetworkConfig("test"))
    first = agents.register("tester", {})
    agents.reconfigure(config_with(TEAM))
    assert agents.register("tester", {}, secret=first.secret).agent.proven is False
    assert agents.register("tester", {}, secret=first.secret, password_hash="hash-t").agent.proven
    assert agents.register("tester", {}, secret=first.secret).agent.proven


def test_a_proof_outlives_a_restart_and_its_absence_too():
    """It is kept with the identity."""
    before = Directory(config_with())
    secret = before.register("tester", {}, trusted=True).secret
    before.register("ana", {})
    after = Directory(config_with())
    after.import_identities(before.export_identities())
    assert after.register("tester", {}, secret=secret).agent.proven
    assert after.agent("ana").proven is False
    rows = [{key: each[key] for key in each if key != "proven"} for each in before.export_identities()]
    older = Directory(config_with())
    older.import_identities(rows)
    assert older.agent("tester").proven is False


def test_without_verified_secrets_there_is_nothing_to_prove():
    """Any client may claim any id then, and no grant counts."""
    config = config_with(verify_secrets=False)
    assert Directory(config).register("tester", {}).agent.agent_id == "tester"
    assert "has no effect" in grant_notes(config)[0]


def test_who_cannot_be_proven_by_password_is_told_with_the_line_to_write():
    """One sentence for each id; none where a group proves it."""
    tester, boss = grant_notes(config_with(TEAM, LISTING))[0:1], grant_notes(config_with(TEAM, LISTING))
    assert [each.split(":")[0] for each in boss] == ["dev.grants.boss"]
    assert "metadata: {agents: [boss]}" in tester[0]
    assert grant_notes(config_with(TEAM)) == ()
    assert proving_groups(config_with(TEAM), "boss") == (TEAM,)
