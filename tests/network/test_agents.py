"""Identities, groups, signs of life: who is an agent of this network."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from devserver.errors import EventRefused
from devserver.model.config import AgentGroup, NetworkConfig
from devserver.model.event import Event
from devserver.network.agents import REGISTRATION_REFUSED, Directory
from devserver.network.identity import secret_digest
from devserver.server import periodic


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def directory(clock: Clock, **settings) -> Directory:
    return Directory(NetworkConfig(name="test", **settings), clock=clock)


def code_of(function, *arguments, **keywords) -> str:
    with pytest.raises(EventRefused) as refused:
        function(*arguments, **keywords)
    return refused.value.code


def test_a_new_agent_gets_a_secret_of_64_letters_and_digits(clock):
    """The form that OpenAgents clients know."""
    registration = directory(clock).register("ana", {"x": 1})
    assert len(registration.secret) == 64 and registration.secret.isascii() and registration.secret.isalnum()
    assert (registration.agent.metadata, registration.agent.group, registration.resumed) == ({"x": 1}, "guest", False)


def test_a_secret_is_not_kept(clock):
    """Only its SHA-256 is, and no representation shows even that."""
    agents = directory(clock)
    registration = agents.register("ana", {})
    assert registration.secret not in repr(agents.agent("ana")) + repr(registration) + repr(agents.export_identities())


@pytest.mark.parametrize(
    "agent_id",
    [
        *("", " ", "ana ", "a" * 129, "ana\n", "a\u202eb", "e\u0301", "\ud800", "a\x00", "\u200bana", 5, None),
        *("system", "mod", "mod:wiki", "system:system", "agent:ana", "channel:x", "group:g", "broadcast", "all"),
        *("System:System", "MOD:alpha", "Agent:ana", "BROADCAST", "admin", "Admin", "local", "anonymous"),
    ],
)
def test_an_id_that_could_pass_for_something_else_is_refused(clock, agent_id):
    """Ids are plain ASCII words, and no address of a mod, a channel or the system."""
    assert code_of(directory(clock).register, agent_id, {}) == "bad_agent_id"


@pytest.mark.parametrize("agent_id", ["ana", "A-1_b.c", "team:ana", "a" * 64])
def test_an_ordinary_id_is_taken_as_it_is(clock, agent_id):
    """Including a colon that names no role."""
    assert directory(clock).register(agent_id, {}).agent.agent_id == agent_id


@pytest.mark.parametrize("metadata", [[], "x", {"x": float("nan")}, {"x": object()}, {"x": "y" * 70_000}])
def test_metadata_that_cannot_be_sent_on_is_refused(clock, metadata):
    """It must be an object that JSON can carry, of bounded size."""
    assert code_of(directory(clock).register, "ana", metadata) == "bad_metadata"


def test_the_secret_proves_an_agent_and_nothing_else_does(clock):
    """Unknown ids, wrong secrets and values that are no text are all the same: no one."""
    agents = directory(clock)
    secret = agents.register("ana", {}).secret
    assert agents.authenticate("ana", secret) is agents.agent("ana")
    for agent_id, wrong in [("ana", "x"), ("ana", ""), ("ana", None), ("ana", 5), ("bob", secret), (None, secret)]:
        assert agents.authenticate(agent_id, wrong) is None
    assert agents.authenticate("ana", "é\ud800") is None
    assert agents.authenticate("agent:ana", secret) is agents.agent("ana")


def test_without_verification_any_registered_id_will_do(clock):
    """disable_agent_secret_verification, which tests of OpenAgents rely on."""
    agents = directory(clock, verify_secrets=False)
    agents.register("ana", {})
    assert agents.authenticate("ana", None) is agents.agent("ana")
    assert agents.authenticate("agent:ana", None) is agents.agent("ana")
    assert agents.authenticate("bob", None) is None
    assert agents.register("ana", {}).replaced


def test_an_agent_with_its_secret_goes_on_where_it_was(clock):
    """Backlog, channels and subscriptions are still there, and the secret stays."""
    agents = directory(clock)
    first = agents.register("ana", {"x": 1})
    agents.add_channel_member("general", "ana")
    agents.deliver(Event(event_name="test.event", source_id="bob", destination_id="ana"))
    second = agents.register("ana", {"x": 2}, transport="ws", secret=first.secret)
    assert second.resumed and second.agent is first.agent and second.secret == first.secret
    assert (len(second.agent.outbox), agents.channel_members("general")) == (1, ("ana",))
    assert (second.agent.metadata, second.agent.transport) == ({"x": 2}, "ws")


def test_an_id_cannot_be_taken_while_its_holder_is_there(clock):
    """Neither while it has a socket nor within 60 s of its last sign of life, and the holder is told once."""
    agents = directory(clock)
    holder = agents.register("ana", {}).agent
    agents.socket_opened(holder)
    clock.now += 1000
    assert code_of(agents.register, "ana", {}) == "agent_id_taken"
    agents.socket_closed(holder, dropped=True)
    clock.now += 59
    assert code_of(agents.register, "ana", {}) == "agent_id_taken"
    assert code_of(agents.register, "ana", {}) == "agent_id_taken"
    assert [each.event.event_name for each in holder.outbox.take_nowait()] == [REGISTRATION_REFUSED]
    assert agents.agent("ana") is holder


def test_a_silent_id_can_be_taken_over_but_not_what_belonged_to_it(clock):
    """An unmodified client that restarted comes back under its id; a stranger gets no backlog."""
    agents = directory(clock)
    first = agents.register("ana", {})
    agents.add_channel_member("general", "ana")
    agents.deliver(Event(event_name="test.event", source_id="bob", destination_id="ana"))
    clock.now += 61
    second = agents.register("ana", {})
    assert second.replaced and second.agent is not first.agent
    assert (len(second.agent.outbox), agents.channel_members("general")) == (0, ())
    assert agents.authenticate("ana", first.secret) is None


def test_a_wrong_secret_never_takes_an_id(clock):
    """However long the holder is silent: an agent that sends a secret claims to be the holder."""
    agents = directory(clock)
    agents.register("ana", {})
    clock.now += 1000
    assert code_of(agents.register, "ana", {}, secret="x" * 64) == "wrong_secret"


def test_an_id_that_differs_in_case_only_is_a_look_alike(clock):
    """It is refused for as long as the other is registered."""
    agents = directory(clock)
    agents.register("Ana", {})
    assert code_of(agents.register, "ana", {}) == "agent_id_taken"
    agents.unregister("Ana")
    assert agents.register("ana", {}).agent.agent_id == "ana"


def test_a_full_network_refuses_new_agents_and_keeps_the_old(clock):
    """max_agents bounds registrations."""
    agents = directory(clock, max_agents=2)
    secret = agents.register("a", {}).secret
    agents.register("b", {})
    assert code_of(agents.register, "c", {}) == "too_many_agents"
    assert agents.register("a", {}, secret=secret).resumed


GROUPS = {
    "admin": AgentGroup("admin", "hash-a"),
    "team": AgentGroup("team", "hash-t", metadata={"agents": ["listed", "ana"]}),
    "open": AgentGroup("open", metadata={"agents": 5}),
}


@pytest.mark.parametrize(
    ("required", "password", "group", "assigned"),
    [
        (False, "", None, "guest"),
        (False, "hash-t", None, "team"),
        (False, "wrong", None, "guest"),
        (False, "", "open", "open"),
        (False, "", "guest", "guest"),
        (False, "hash-a", "admin", "admin"),
        (False, "hash-t", "admin", "wrong_password"),
        (False, "", "nowhere", "unknown_group"),
        (True, "hash-a", None, "admin"),
        (True, "", None, "password_required"),
        (True, "wrong", None, "password_required"),
        (True, "", "open", "wrong_password"),
    ],
)
def test_a_password_decides_the_group(clock, required, password, group, assigned):
    """By the rules of OpenAgents: the first group with that hash, or the one that was named."""
    agents = directory(clock, groups=GROUPS, requires_password=required)
    try:
        found = agents.register("ana", {}, password_hash=password, group=group).agent.group
    except EventRefused as refused:
        found = refused.code
    assert found == assigned


def test_a_refused_registration_leaves_no_trace(clock):
    """Neither an agent nor a reservation of its id."""
    agents = directory(clock, groups=GROUPS, requires_password=True)
    assert code_of(agents.register, "ana", {}) == "password_required"
    assert agents.agents() == ()
    assert agents.register("ana", {}, password_hash="hash-t").agent.group == "team"


def test_a_groups_members_joined_it_or_are_listed(clock):
    """By password or by network.yaml, each once: these get the events that are sent to it."""
    agents = directory(clock, groups=GROUPS)
    for agent_id in ("bob", "ana"):
        agents.register(agent_id, {}, password_hash="hash-t")
    agents.register("listed", {})
    assert agents.receivers(Event(event_name="team.news", destination_id="group:team")) == ("bob", "ana", "listed")
    assert agents.receivers(Event(event_name="team.news", destination_id="group:nowhere")) == ()
    # Its metadata name no list of agents.
    assert agents.receivers(Event(event_name="open.news", destination_id="group:open")) == ()


def test_a_channel_of_another_host_is_replaced_in_one_step(clock):
    """Receivers are looked up on other threads meanwhile: some of them got nothing."""
    here, seen = directory(clock), []
    members = ("ana", "ben")
    here.set_channel("general", members)

    def slowly():
        for each in members:
            seen.append(here._channels.of("general"))
            yield each

    here.set_channel("general", slowly())
    assert [*seen, here.channel_members("general")] == [members] * 3


def test_an_agent_that_leaves_is_gone_everywhere(clock):
    """From channels, groups and queues; its secret proves nothing any more."""
    agents = directory(clock)
    registration = agents.register("ana", {})
    agents.add_channel_member("general", "agent:ana")
    assert agents.unregister("ana")
    assert not agents.unregister("ana")
    assert agents.channel_members("general") == ()
    assert registration.agent.outbox.closed
    assert agents.authenticate("ana", registration.secret) is None


def test_coming_and_going_is_told(clock):
    """Once each; resuming is neither."""
    agents = directory(clock)
    told = []
    agents.on_change.append(lambda *change: told.append(change))
    secret = agents.register("ana", {}, transport="ws").secret
    agents.register("ana", {}, transport="ws", secret=secret)
    agents.unregister("ana")
    assert told == [("ana", True, "ws"), ("ana", False, "ws")]


def test_an_agent_goes_with_its_socket_and_comes_back_with_the_next(clock):
    """One line each: neither the id that is forgotten afterwards nor a second socket is one more. Hearers may ask."""
    agents = directory(clock)
    told = []
    agents.on_presence.append(lambda *change: told.append(change[:2]))
    # As what hides secrets in told texts does, for an id that looks like the digest of one.
    agents.on_presence.append(lambda *change: agents.is_secret("a" * 64))
    agents.on_update.append(lambda agent_id: agents.is_secret("a" * 64))
    made = agents.register("ana", {}, transport="ws")
    agents.socket_opened(made.agent)
    agents.socket_opened(made.agent)
    agents.socket_closed(made.agent, dropped=False)
    assert told == [("ana", True)]
    agents.socket_closed(made.agent, dropped=True)
    assert told == [("ana", True), ("ana", False)]
    agents.socket_opened(agents.register("ana", {"n": 1}, transport="ws", secret=made.secret).agent)
    assert told[2:] == [("ana", True)]
    agents.unregister("ana")
    agents.socket_closed(made.agent, dropped=False)
    assert told[3:] == [("ana", False)]


def test_another_agent_under_an_id_that_was_left_is_told_as_another(clock):
    """The first goes, the second comes."""
    agents = directory(clock)
    told = []
    agents.on_presence.append(lambda *change: told.append(change[:2]))
    agents.register("ana", {})
    clock.now += 61
    agents.register("ana", {})
    assert told == [("ana", True), ("ana", False), ("ana", True)]


def test_identities_of_before_come_when_they_are_heard_from(clock):
    """Not when they are read from the disk; and what a stop ends does not go one by one."""
    agents = directory(clock)
    told = []
    agents.on_presence.append(lambda *change: told.append(change[:2]))
    agents.import_identities(
        [{"agent_id": "old", "metadata": {}, "group": "guest", "transport": "http", "secret_sha256": "0"}]
    )
    assert told == []
    agents.touch("old")
    agents.touch("old")
    assert told == [("old", True)]
    pusher = agents.register("pusher", {}, transport="ws").agent
    agents.socket_opened(pusher)
    agents.close()
    agents.socket_closed(pusher, dropped=False)
    assert told[2:] == []


def test_silence_counts_from_the_last_sign_of_life(clock):
    """An agent with an open socket is never silent; a closed one has its whole grace."""
    agents = directory(clock, agent_timeout=180)
    poller, pusher = agents.register("poller", {}).agent, agents.register("pusher", {}).agent
    agents.socket_opened(pusher)
    clock.now += 181
    assert tuple(agents.silent(clock.now)) == ("poller",)
    agents.touch(poller.agent_id)
    agents.socket_closed(pusher, dropped=True)
    assert tuple(agents.silent(clock.now)) == ()
    clock.now += 181
    assert tuple(agents.silent(clock.now)) == ("poller", "pusher")


def test_connected_means_an_open_socket_or_a_recent_poll(clock):
    """Within 30 s; an identity that was only restored is not connected."""
    agents = directory(clock)
    agents.register("poller", {})
    agents.socket_opened(agents.register("pusher", {}).agent)
    agents.import_identities(
        [{"agent_id": "old", "metadata": {}, "group": "guest", "transport": "http", "secret_sha256": "0"}]
    )
    assert agents.connected() == 2
    clock.now += 31
    assert agents.connected() == 1
    agents.touch("old")
    assert agents.connected() == 2


def test_only_connections_that_did_not_mean_to_end_are_dropped(clock):
    """Leaving and opening a newer connection are no drops."""
    agents = directory(clock)
    agent = agents.register("ana", {}, transport="ws").agent
    mark = agents.drops
    for dropped in (False, True):
        agents.socket_opened(agent)
        agents.socket_closed(agent, dropped=dropped)
    assert agents.drops - mark == 1
    agents.register("poller", {})
    agents.unregister("poller", dropped=True)
    agents.unregister("ana", dropped=True)
    assert agents.drops - mark == 2


def test_identities_survive_a_restart_without_their_secrets_being_written(clock):
    """What one directory exports another imports; agents go on with the secret they have."""
    before, after = directory(clock), directory(clock)
    secret = before.register("ana", {"x": 1}, transport="ws").secret
    after.import_identities(before.export_identities())
    agent = after.authenticate("ana", secret)
    assert agent is not None
    assert (agent.metadata, agent.group, agent.transport) == ({"x": 1}, "guest", "ws")
    assert code_of(after.register, "ana", {}) == "agent_id_taken"


def test_an_agent_that_ends_frees_its_id_on_this_machine(clock):
    """Its socket closed, or its client went away while a poll was held: its author starts it again at once."""
    agents = directory(clock)
    pusher, poller = agents.register("pusher", {}, transport="ws").agent, agents.register("poller", {}).agent
    agents.socket_opened(pusher)
    assert code_of(agents.register, "pusher", {}, near=True) == "agent_id_taken"
    assert code_of(agents.register, "poller", {}, near=True) == "agent_id_taken"
    agents.socket_closed(pusher, dropped=True)
    agents.poll_dropped(poller)
    assert [agents.is_connected(each) for each in (pusher, poller)] == [False, False]
    for agent_id in ("pusher", "poller"):
        assert code_of(agents.register, agent_id, {}) == "agent_id_taken"
        assert agents.register(agent_id, {}, near=True).replaced


def test_an_agent_that_polls_again_had_not_ended(clock):
    """A client that gives up a poll and begins the next keeps its id, and one that is silent for a moment too."""
    agents = directory(clock)
    poller = agents.register("poller", {}).agent
    agents.poll_dropped(poller)
    agents.touch("poller")
    clock.now += 14
    assert code_of(agents.register, "poller", {}, near=True) == "agent_id_taken"
    clock.now += 2
    assert agents.register("poller", {}, near=True).replaced


def test_an_id_of_another_host_is_free_when_that_has_let_it_go(clock):
    """It was said to be free after 15 or 60 seconds of silence."""
    agents = directory(clock, agent_timeout=200.0)
    row = {"host": "gpu-1", "epoch": 1, "secret_sha256": secret_digest("x"), "metadata": {}, "group": "guest"}
    agents.put_away("ana", {**row, "transport": "http", "proven": False}, ())
    clock.now += 100
    with pytest.raises(EventRefused, match="silent for 200 s"):
        agents.register("ana", {}, near=True)
    agents.forget_away("ana")
    assert not agents.register("ana", {}, near=True).resumed


def test_an_id_of_an_earlier_run_is_free_on_this_machine_until_its_agent_is_heard(clock):
    """Server and agents were started again: none of them is refused for what it was before."""
    before = directory(clock)
    secret = before.register("ana", {}).secret
    after = directory(clock)
    after.import_identities(before.export_identities())
    assert code_of(after.register, "ana", {}) == "agent_id_taken"
    after.touch("ana")
    assert code_of(after.register, "ana", {}, near=True) == "agent_id_taken"
    assert after.register("ana", {}, secret=secret).resumed


def test_descriptions_of_agents_keep_within_their_bound_and_those_that_were_let_in_come_back(clock):
    """An agent that returns with a larger one than there is room for keeps the one of before; none is lost for it."""
    agents = directory(clock)
    account = agents._identities
    account.bound = replace(account.bound, most=60_000, fair=0)
    secrets = {name: agents.register(name, {}).secret for name in ("ana", "ben", "cleo")}
    large = {"about": "x" * 25_000}
    for name, secret in secrets.items():
        assert agents.register(name, large, secret=secret).resumed
    assert account.used <= account.bound.most
    assert [len(each.written) > 25_000 for each in agents.agents()] == [True, True, False]
    with pytest.raises(EventRefused, match="no room"):
        agents.take_in(replace(agents.admit("cleo", large, secret=secrets["cleo"]), resumes=False))
    assert agents.agent("cleo") is not None
    after = directory(clock)
    after._identities.bound = replace(account.bound, most=1000)
    after.unpack(agents.pack())
    assert [each.agent_id for each in after.agents()] == ["ana", "ben", "cleo"]


async def test_an_agent_that_comes_back_while_another_is_let_go_stays(clock, monkeypatch):
    """Mods hear of each that goes, and take their time."""
    monkeypatch.setattr(periodic, "_SECONDS", 0.0)
    monkeypatch.setattr(periodic, "time", SimpleNamespace(monotonic=clock))
    agents = directory(clock)
    secrets = {name: agents.register(name, {}).secret for name in ("ana", "ben")}
    clock.now += 10_000
    gone = []

    async def unregister(agent_id, *, dropped):
        gone.append(agent_id)
        agents.unregister(agent_id, dropped=dropped)
        agents.register("ben", {}, secret=secrets["ben"])
        if len(gone) == 1:
            again.cancel()

    network = SimpleNamespace(directory=agents, unregister_agent=unregister)
    again = asyncio.create_task(periodic.keep_presence(network))
    await asyncio.wait([again])
    assert gone == ["ana"] and agents.agent("ben") is not None


class Walked(dict):
    """A table that counts how often all of it is looked through."""

    times = 0

    def values(self):
        self.times += 1
        return super().values()


def test_a_secret_is_known_without_looking_through_all_agents_each_time(clock):
    """Whatever is shown may hold thousands of texts that look like one."""
    agents = directory(clock)
    secrets = [agents.register(each, {}).secret for each in ("ana", "bob")]
    digests = [secret_digest(each) for each in secrets]
    agents._agents = table = Walked(agents._agents)
    assert [agents.is_secret(each) for each in (*digests, "no digest")] == [True, True, False]
    assert table.times == 1
    agents.unregister("ana")
    third = agents.register("cy", {}).secret
    assert [agents.is_secret(each) for each in (*digests, secret_digest(third))] == [False, True, True]
