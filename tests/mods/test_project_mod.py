"""What the project mod does for those who start projects, and for those who take part."""

from __future__ import annotations

import pytest

from mods.project.mod import ProjectMod

TEMPLATES = {
    "project_templates": {
        "review": {"name": "Review", "description": "Look at it", "context": "Read first", "agent_groups": ["readers"]}
    }
}


@pytest.fixture
async def mod(network, start):
    """Projects with one template, a guest and a reader."""
    network.join("ana")
    network.join("rita", group="readers")
    return await start(ProjectMod, TEMPLATES)


async def started(ask, mod, by="ana", **facts) -> str:
    """The id of a project that has just been started."""
    answer = await ask(mod, "project.start", {"goal": "Ship it", **facts}, by=by)
    assert answer.success, answer.message
    return answer.data["project_id"]


async def test_a_started_project_runs_and_has_its_goal(mod, ask):
    """With those who take part: who started it, the collaborators, and the members of the template's groups."""
    answer = await ask(
        mod,
        "project.start",
        {"goal": "Ship it", "name": "Launch", "template_id": "review", "collaborators": ["cleo", "ana"]},
        timestamp=7,
    )
    got = await ask(mod, "project.get", {"project_id": answer.data["project_id"]})

    assert answer.data["authorized_agents"] == ["ana", "cleo", "rita"]
    project = got.data["project"]
    assert (project["goal"], project["name"], project["status"]) == ("Ship it", "Launch", "running")
    assert (project["template_id"], project["context"]) == ("review", "Read first")
    assert (project["created_timestamp"], project["started_timestamp"], project["completed_timestamp"]) == (7, 7, None)


async def test_a_project_without_a_name_gets_one(mod, ask):
    """It is made of the project's id."""
    project_id = await started(ask, mod)
    got = await ask(mod, "project.get", {"project_id": project_id})

    assert got.data["project"]["name"] == f"Project-{project_id[:8]}"


async def test_those_who_take_part_are_told_of_start_and_end(mod, network, ask):
    """Also the agent that started or ended it, as in OpenAgents."""
    first = await started(ask, mod, collaborators=["rita"])
    await ask(mod, "project.stop", {"project_id": first, "reason": "enough"}, by="rita")
    second = await started(ask, mod)
    await ask(mod, "project.complete", {"project_id": second, "summary": "shipped"})

    told = [(event.event_name.rpartition(".")[2], event.destination_id) for event in network.sent]
    assert told == [
        ("started", "agent:ana"),
        ("started", "agent:rita"),
        ("stopped", "agent:ana"),
        ("stopped", "agent:rita"),
        ("started", "agent:ana"),
        ("completed", "agent:ana"),
    ]
    stopped, completed = network.sent[2].payload, network.sent[5].payload
    assert (stopped["project_id"], stopped["stopped_by"], stopped["reason"]) == (first, "rita", "enough")
    assert (completed["completed_by"], completed["summary"]) == ("ana", "shipped")


async def test_a_refused_notification_is_logged_and_the_project_runs(mod, network, ask, caplog):
    """The network's refusal is told to the log, not to the one who started."""
    caplog.set_level("INFO")
    network.refuse = True
    await started(ask, mod)

    assert "name='project.notification.started' receiver='ana' reason='recorded'" in caplog.text


async def test_an_ended_project_says_how_and_when(mod, ask):
    """Stopped or completed, and the latter with a summary."""
    stopped, completed = await started(ask, mod), await started(ask, mod)
    first = await ask(mod, "project.stop", {"project_id": stopped}, timestamp=8)
    second = await ask(mod, "project.complete", {"project_id": completed, "summary": "shipped"}, timestamp=9)
    listed = await ask(mod, "project.list")

    assert first.data == {"project_id": stopped, "stopped_timestamp": 8}
    assert second.data == {"project_id": completed, "completed_timestamp": 9}
    facts = [(each["status"], each["completed_timestamp"], each["summary"]) for each in listed.data["projects"]]
    assert facts == [("completed", 9, "shipped"), ("stopped", 8, None)]


async def test_agents_see_their_own_projects_in_lists(mod, ask):
    """Those of one status, or without ended ones, where that is asked for."""
    running, stopped = await started(ask, mod), await started(ask, mod)
    await ask(mod, "project.stop", {"project_id": stopped})

    async def listed(by="ana", **filters):
        answer = await ask(mod, "project.list", filters, by=by)
        return [each["project_id"] for each in answer.data["projects"]]

    assert await listed() == [stopped, running]
    assert await listed(status="stopped") == [stopped]
    assert await listed(include_archived=False) == [running]
    assert await listed(by="rita") == []


async def test_only_those_who_take_part_can_end_a_project_and_only_once(mod, ask):
    """Everyone else, and an agent that comes late, is told why not."""
    project_id = await started(ask, mod)
    stranger = await ask(mod, "project.stop", {"project_id": project_id}, by="rita")
    await ask(mod, "project.stop", {"project_id": project_id})
    late = await ask(mod, "project.complete", {"project_id": project_id, "summary": "x"})

    assert stranger.message == f"rita takes no part in project '{project_id}' and cannot end it"
    assert late.message == f"project '{project_id}' is stopped already"


async def test_the_templates_are_those_of_the_configuration(mod, ask):
    """And a template that is not there is refused with those that are."""
    listed = await ask(mod, "project.template.list")
    unknown = await ask(mod, "project.start", {"goal": "x", "template_id": "none"})

    assert listed.data["templates"] == [
        {
            "template_id": "review",
            "name": "Review",
            "description": "Look at it",
            "agent_groups": ["readers"],
            "context": "Read first",
        }
    ]
    assert unknown.message == "there is no template 'none', only review"


async def test_so_many_projects_run_at_once(network, start, ask):
    """One that ends makes room for the next."""
    mod = await start(ProjectMod, {"max_concurrent_projects": 1})
    first = await started(ask, mod)
    refused = await ask(mod, "project.start", {"goal": "x"})
    await ask(mod, "project.stop", {"project_id": first})

    assert refused.message == "1 projects run already, which is the most; stop or complete one first"
    assert await started(ask, mod) != first


async def test_the_oldest_ended_projects_are_forgotten_and_running_ones_never(network, start, ask):
    """`max_projects` are remembered in all."""
    mod = await start(ProjectMod, {"max_projects": 2})
    running, ended = await started(ask, mod), await started(ask, mod)
    await ask(mod, "project.stop", {"project_id": ended})
    newest = await started(ask, mod)

    assert list(mod.state["projects"]) == [running, newest]
    assert not (await ask(mod, "project.start", {"goal": "x"})).success


@pytest.mark.parametrize(
    ("name", "payload", "words"),
    [
        ("project.start", {}, 'project.start: "goal" is missing'),
        ("project.start", {"goal": "x", "collaborators": [1]}, '"collaborators[0]" must be a text, not 1'),
        ("project.start", {"goal": "x", "collaborators": [str(n) for n in range(51)]}, "at most 50 entries"),
        ("project.get", {"project_id": "none"}, "there is no project 'none'"),
        ("project.stop", {"project_id": "none"}, "there is no project 'none'"),
        ("project.complete", {"project_id": "none"}, 'project.complete: "summary" is missing'),
        ("project.list", {"status": "lost"}, '"status" must be one of running, stopped or completed, not "lost"'),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_sentence(mod, ask, name, payload, words):
    """The answer says what is wrong."""
    answer = await ask(mod, name, payload)

    assert not answer.success
    assert words in answer.message


async def test_projects_survive_a_new_instance(mod, start, ask):
    """And can be ended there."""
    project_id = await started(ask, mod)
    following = await start(ProjectMod, TEMPLATES, mod.state)

    assert (await ask(following, "project.get", {"project_id": project_id})).data["project"]["goal"] == "Ship it"
    assert (await ask(following, "project.stop", {"project_id": project_id})).success


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"project_templates": ["review"]}, '"project_templates" must be an object, not a list'),
        ({"project_templates": {"review": 1}}, '"project_templates.review" must be an object, not 1'),
        (
            {"project_templates": {"review": {"agent_groups": "readers"}}},
            'agent_groups" must be a list, not "readers"',
        ),
        ({"max_projects": -1}, '"max_projects" must be at least 1, not -1'),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_refused_with_its_key(start, config, words):
    """The load fails with a sentence for the author of network.yaml."""
    with pytest.raises(ValueError, match=words):
        await start(ProjectMod, config)
