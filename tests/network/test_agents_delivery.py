"""Who gets an event: destinations, visibility, subscriptions, full queues."""

import pytest

from devserver.errors import EventRefused
from devserver.model.config import AgentGroup, NetworkConfig
from devserver.model.event import Event
from devserver.model.lifecycle import Limits
from devserver.network.agents import Delivery, Directory

AGENTS = ("ana", "bob", "cy")


@pytest.fixture
def agents() -> Directory:
    groups = {"team": AgentGroup("team", "hash", metadata={"agents": ["bob", "absent"]})}
    made = Directory(NetworkConfig(name="test", groups=groups, limits=Limits(outbox_events=2)))
    for agent_id in AGENTS:
        made.register(agent_id, {}, password_hash="hash" if agent_id == "ana" else "")
    for agent_id in ("ana", "bob", "not-yet-here"):
        made.add_channel_member("general", agent_id)
    return made


def event(destination: str | None = None, source: str = "ana", **fields) -> Event:
    return Event(event_name="test.event", source_id=source, destination_id=destination, **fields)


@pytest.mark.parametrize(
    ("destination", "source", "receivers"),
    [
        ("bob", "ana", ("bob",)),
        ("agent:bob", "ana", ("bob",)),
        ("ana", "ana", ("ana",)),
        ("nobody", "ana", ()),
        ("agent:broadcast", "ana", ("bob", "cy")),
        ("broadcast", "agent:ana", ("bob", "cy")),
        ("all", "mod:wiki", ("ana", "bob", "cy")),
        ("channel:general", "ana", ("bob",)),
        ("channel:general", "mod:ana", ("ana", "bob")),
        ("channel:nowhere", "ana", ()),
        ("group:team", "bob", ("ana",)),
        ("group:team", "cy", ("ana", "bob")),
        ("group:guest", "bob", ("cy",)),
        ("mod:wiki", "ana", ()),
        ("", "ana", ()),
        (None, "ana", ()),
    ],
)
def test_the_destination_says_who_receives(agents, destination, source, receivers):
    """A sender does not get what it sends to a channel, a group or all; "agent:a" is "a"."""
    assert agents.receivers(event(destination, source)) == receivers


@pytest.mark.parametrize(
    ("visibility", "destination", "allowed", "receivers"),
    [
        ("network", "all", None, ("bob", "cy")),
        ("public", "all", ["cy"], ("bob", "cy")),
        ("direct", "all", None, ()),
        ("direct", "agent:bob", None, ("bob",)),
        ("direct", "channel:general", None, ()),
        ("restricted", "all", None, ()),
        ("restricted", "all", ["agent:cy", "x"], ("cy",)),
        ("restricted", "bob", ["cy"], ()),
        ("mod_only", "all", None, ()),
        ("mod_only", "bob", None, ()),
        ("channel", "channel:general", None, ("bob",)),
        ("channel", "all", None, ()),
        ("channel", "bob", None, ("bob",)),
    ],
)
def test_visibility_limits_who_receives(agents, visibility, destination, allowed, receivers):
    """With or without subscriptions."""
    sent = event(destination, visibility=visibility, allowed_agents=allowed)
    assert agents.receivers(sent) == receivers
    for agent_id in AGENTS:
        agents.subscribe(agent_id, ["*"])
    assert agents.receivers(sent) == receivers


def test_subscriptions_limit_what_an_agent_gets(agents):
    """None means everything; some mean what one of them covers."""
    bob = agents.agent("bob")
    assert agents.wants(bob, event("bob"))
    subscription = agents.subscribe("bob", ["wiki.*"], None)
    assert not agents.wants(bob, event("bob"))
    agents.subscribe("agent:bob", ["test.event"])
    assert agents.wants(bob, event("bob"))
    assert agents.unsubscribe("bob", subscription.subscription_id)
    assert not agents.unsubscribe("bob", subscription.subscription_id)
    assert agents.wants(bob, event("bob"))


def test_unsubscribing_from_all_leaves_none(agents):
    """Afterwards the agent gets everything again."""
    for pattern in ("aa.*", "bb.*", "cc.*", "dd.*"):
        agents.subscribe("bob", [pattern])
    assert agents.unsubscribe("bob")
    assert not agents.unsubscribe("bob")
    assert agents.wants(agents.agent("bob"), event("bob"))


def test_a_subscription_to_channels_says_nothing_about_other_events(agents):
    """It narrows events to channels, and those alone."""
    agents.subscribe("bob", ["*"], ["channel:other"])
    assert agents.receivers(event("channel:general")) == ()
    assert agents.receivers(event("bob")) == ("bob",)
    agents.subscribe("bob", ["*"], ["general"])
    assert agents.receivers(event("channel:general")) == ("bob",)


@pytest.mark.parametrize(
    ("patterns", "channels", "code"),
    [
        (["(a+)+$*x"], None, "bad_pattern"),
        (["a.*.b"], None, "bad_pattern"),
        ([""], None, "bad_pattern"),
        ([], None, "bad_pattern"),
        (None, None, "bad_pattern"),
        (["*"] * 101, None, "too_many_patterns"),
        ("wiki.*", None, "bad_event_patterns"),
        ([5], None, "bad_event_patterns"),
        (["x" * 201], None, "bad_pattern"),
        (["*"], "general", "bad_channels"),
        (["*"], [None], "bad_channels"),
        (["*"], ["x"] * 101, "bad_channels"),
    ],
)
def test_a_subscription_that_could_do_harm_or_nothing_is_refused(agents, patterns, channels, code):
    """Patterns are literal or end in a star, at most 100 for each agent."""
    with pytest.raises(EventRefused) as refused:
        agents.subscribe("bob", patterns, channels)
    assert refused.value.code == code
    assert agents.agent("bob").subscriptions == {}


def test_the_bound_on_patterns_holds_over_all_subscriptions(agents):
    """Sixty and sixty are too many."""
    agents.subscribe("bob", ["*"] * 60)
    with pytest.raises(EventRefused):
        agents.subscribe("bob", ["*"] * 60)


def test_delivery_says_to_how_many(agents):
    """One event object for all receivers, without the sender's secret, whatever becomes of the original."""
    sent = event("all", secret="s3cret")
    assert agents.deliver(sent) == Delivery(2, to=("bob", "cy"))
    sent.destination_id = "changed"
    (for_bob,), (for_cy,) = (agents.agent(each).outbox.take_nowait() for each in ("bob", "cy"))
    assert for_bob is for_cy
    assert (for_bob.event.secret, for_bob.event.destination_id) == (None, "all")


def test_delivery_names_a_full_outbox(agents):
    """The sender learns whom it did not reach; the others got theirs."""
    for _ in range(2):
        agents.deliver(event("bob"))
    assert agents.deliver(event("all")) == Delivery(1, full=("bob",), to=("cy",))


@pytest.mark.parametrize(
    ("destination", "unknown"),
    [
        ("nobody", "agent:nobody"),
        ("channel:nowhere", "channel:nowhere"),
        ("group:nowhere", "group:nowhere"),
        ("mod:wiki", None),
        (None, None),
    ],
)
def test_delivery_names_a_destination_that_does_not_exist(agents, destination, unknown):
    """A typo is no silent success."""
    assert agents.deliver(event(destination)) == Delivery(0, unknown=unknown)


def test_an_empty_channel_exists(agents):
    """No one being in it is no error."""
    agents.create_channel("quiet")
    assert agents.deliver(event("channel:quiet")) == Delivery(0)
    assert agents.channels() == ("general", "quiet")
    agents.remove_channel("quiet")
    agents.remove_channel_member("general", "agent:bob")
    assert agents.deliver(event("channel:quiet")) == Delivery(0, unknown="channel:quiet")
    assert agents.receivers(event("channel:general", "cy")) == ("ana",)


class Read(list):
    """A list that counts how often it is read."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def test_the_agents_that_may_have_an_event_are_read_once_however_many_it_goes_to(agents):
    """A thousand of them, looked through for each of a thousand agents, would stop all others for long."""
    allowed = Read(["agent:bob", "cy", "nobody"])
    assert agents.receivers(event("all", visibility="restricted", allowed_agents=allowed)) == ("bob", "cy")
    assert allowed.times == 1
