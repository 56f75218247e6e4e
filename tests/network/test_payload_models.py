"""A handler that annotates its payload gets a model; a payload that does not fit never reaches it."""

from __future__ import annotations

import pytest
from workspaces import Workspace

HEAD = """
from pydantic import BaseModel, Field
class Edit(BaseModel):
    path: str = Field(min_length=1)
    tags: list[str] = []
"""

EDITS = """
    @mod_event_handler("page.edit")
    async def edit(self, event: Event, page: Edit) -> EventResponse:
        '''Change a page.'''
        self.state["edits"] = self.state.get("edits", 0) + 1
        return EventResponse(True, page.path, {"tags": page.tags, "raw": event.payload, "kind": type(page).__name__})
"""


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
async def test_a_handler_gets_its_payload_as_the_model(work: Workspace, at: str, future: str) -> None:
    """Annotations that are left as text are read too."""
    text = work.mod("page", EDITS, HEAD).read_text()
    work.write("mods/page.py", future + text)
    await work.start("mods.page", home=at)
    answer = await work.ask("page.edit", path="a", tags=["x"])
    assert (answer.success, answer.message) == (True, "a")
    assert answer.data == {"tags": ["x"], "raw": {"path": "a", "tags": ["x"]}, "kind": "Edit"}


async def test_a_sync_handler_gets_it_too(work: Workspace) -> None:
    """Also one whose model stands in the class of the mod."""
    body = """
    class Edit(BaseModel):
        path: str
    @mod_event_handler("page.edit")
    def edit(self, event, page: Edit):
        return {"path": page.path}
    """
    work.mod("page", body, "from pydantic import BaseModel")
    await work.start("mods.page")
    assert (await work.ask("page.edit", path="a")).data == {"path": "a"}


async def test_a_payload_that_does_not_fit_is_refused_with_a_sentence_for_each_value(work: Workspace, at: str) -> None:
    """For programs the same is in `data.errors`; it counts as no error of the mod."""
    work.mod("page", EDITS, HEAD)
    await work.start("mods.page", home=at)
    answer = await work.ask("page.edit", tags=["x", 5])
    assert not answer.success
    assert answer.message == 'page.edit: "path" is missing; "tags[1]" must be a text, not 5'
    assert answer.data == {
        "code": "payload_refused",
        "error": 'page.edit: "path" is missing; "tags[1]" must be a text, not 5',
        "errors": [
            {"loc": ["path"], "type": "missing", "message": '"path" is missing'},
            {"loc": ["tags", 1], "type": "string_type", "message": '"tags[1]" must be a text, not 5'},
        ],
    }
    assert "edits" not in work.instance("page").state
    assert work.net.running_mods()["page"]["errors"] == 0


async def test_a_refused_payload_ends_the_events_way(work: Workspace) -> None:
    """As any answer does: no mod behind is asked."""
    work.mod("page", EDITS, HEAD)
    work.mod("other", '@mod_event_handler("page.*")\ndef any(self, event):\n    return {"other": True}')
    await work.start("mods.page", "mods.other")
    assert (await work.ask("page.edit")).data["code"] == "payload_refused"


async def test_a_handler_registered_by_hand_may_declare_a_model(work: Workspace) -> None:
    """Also a plain function."""
    body = """
    def initialize(self):
        def edit(event, page: Edit):
            return {"path": page.path}
        self.register_event_handler(edit, "page.edit")
    """
    work.mod("page", body, HEAD)
    await work.start("mods.page")
    assert (await work.ask("page.edit", path="a")).data == {"path": "a"}
    assert not (await work.ask("page.edit")).success


async def test_a_decorated_handler_may_declare_a_model(work: Workspace) -> None:
    """Where the decorator passes on what it gets."""
    head = f"""{HEAD}
import functools
def loud(handler):
    @functools.wraps(handler)
    async def wrapper(*args, **kwargs):
        return await handler(*args, **kwargs)
    return wrapper
"""
    work.mod("page", EDITS.replace("    async def", "    @loud\n    async def"), head)
    await work.start("mods.page")
    assert (await work.ask("page.edit", path="a")).message == "a"


async def test_a_second_argument_without_a_model_is_refused_at_load(work: Workspace) -> None:
    """The error says how a handler is written."""
    work.mod("page", EDITS.replace("page: Edit", "page: dict"), HEAD)
    await work.start("mods.page")
    error = work.outcomes()[-1].error
    assert error is not None
    assert "edit(self, event, payload: Model)" in error.message


async def test_an_annotation_that_cannot_be_evaluated_is_named(work: Workspace) -> None:
    """As where the model is imported for type checkers alone."""
    text = work.mod("page", EDITS.replace("page: Edit", "page: Edti"), HEAD).read_text()
    work.write("mods/page.py", "from __future__ import annotations\n" + text)
    await work.start("mods.page")
    error = work.outcomes()[-1].error
    assert error is not None
    assert "PageMod.edit: cannot evaluate the annotation 'Edti': name 'Edti' is not defined" in error.message


async def test_a_reload_takes_the_model_of_the_new_code(work: Workspace) -> None:
    """A field that is new is read from the next event on."""
    work.mod("page", EDITS, HEAD)
    await work.start("mods.page")
    await work.save_mod("page", EDITS, HEAD.replace("tags: list[str] = []", "tags: list[int] = []"))
    assert (await work.ask("page.edit", path="a", tags=[1])).data["tags"] == [1]


async def test_handlers_describe_themselves(work: Workspace) -> None:
    """Events, docstring, schema of the payload; a handler without a model has none."""
    plain = '@mod_event_handler("page.list", "page.all")\ndef list(self, event):\n    """List pages."""'
    work.mod("page", EDITS + "\n" + plain.replace("\n", "\n    ").replace("@", "    @", 1), HEAD)
    await work.start("mods.page")
    edit, listed = work.net.engine.registry.live[0].handlers.described()
    assert (edit["events"], edit["handler"], edit["description"]) == (["page.edit"], "edit", "Change a page.")
    assert edit["payload"]["required"] == ["path"]
    assert listed == {
        "events": ["page.list", "page.all"],
        "handler": "list",
        "description": "List pages.",
        "payload": None,
    }


# Handled without an answer


async def test_a_handler_that_returned_nothing_is_told_apart_from_no_handler(work: Workspace, at: str) -> None:
    """The author who forgot `return` learns that the handler was called."""
    work.mod("echo", '@mod_event_handler("echo.none")\nasync def none(self, event):\n    pass')
    work.mod("all", '@mod_event_handler("*")\ndef any(self, event):\n    pass')
    await work.start("mods.echo", "mods.all", home=at)
    assert (await work.ask("echo.none")).message == (
        "Event echo.none delivered to 0 agents; echo handled it and returned nothing"
    )
    assert (await work.ask("echo.other")).message == ("Event echo.other delivered to 0 agents; no mod handles it")
    assert (await work.ask("echo.other", to="mod:echo")).message == "mod echo has no handler for echo.other"


async def test_a_mod_that_asks_itself_is_told_that_it_does_not_hear_it(work: Workspace) -> None:
    """Its own events never come back to it."""
    work.mod("echo", '@mod_event_handler("echo.none")\nasync def none(self, event):\n    return True')
    await work.start("mods.echo")
    answer = await work.ask("echo.none", by="mod:echo")
    assert answer.message.endswith("delivered to 0 agents; echo does not hear its own events")
