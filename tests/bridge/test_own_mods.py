"""A person's own openagents mod, `./my_mod` beside network.yaml, runs unmodified and reloads on save."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openagents")

from workspaces import Workspace, until

from devserver.model.facts import Status

MOD = """
from openagents.core.base_mod import BaseMod, mod_event_handler
from openagents.models.event import Event
from openagents.models.event_response import EventResponse

from .words import GREETING


class MyMod(BaseMod):
    def __init__(self, mod_name="my_mod"):
        super().__init__(mod_name)
        self.notes = []
        self.limit = 10
        self.register_event_handler(self._by_hand, "my.hand.ask")

    @mod_event_handler("my.note.add")
    async def add(self, event: Event):
        self.notes.append(event.payload["text"])
        (self.get_storage_path() / "notes.txt").write_text("\\n".join(self.notes))
        return EventResponse(success=True, data={"greeting": GREETING, "notes": list(self.notes)})

    @mod_event_handler("my.note.list")
    async def list_notes(self, event: Event):
        return EventResponse(success=True, data={"greeting": GREETING, "notes": list(self.notes), "limit": self.limit})

    async def _by_hand(self, event: Event):
        return EventResponse(success=True, data={"by": "hand"})
"""
WORDS = "GREETING = 'hello'\n"


async def start(work: Workspace, text: str = MOD, **config: Any) -> None:
    """Run a network of one mod of that source."""
    work.write("mods/my_mod/__init__.py", "")
    work.write("mods/my_mod/words.py", WORDS)
    work.write("mods/my_mod/mod.py", text)
    await work.start({"name": "./my_mod", "config": config})
    assert [each.status for each in work.outcomes()] == [Status.APPLIED], work.outcomes()


async def told(work: Workspace, name: str = "my.note.list", **payload: Any) -> dict[str, Any]:
    """The data of an answer."""
    answer = await work.ask(name, **payload)
    assert answer.success, answer
    return answer.data or {}


async def test_it_answers_as_its_path_in_network_yaml(work: Workspace) -> None:
    """Its name is the one of network.yaml, which is an address too, and so is its short id."""
    await start(work)
    assert work.instance("my_mod").inner.mod_name == "./my_mod"
    for address in ("mod:./my_mod", "mod:my_mod"):
        assert (await work.ask("my.hand.ask", to=address)).data == {"by": "hand"}


async def test_a_save_serves_the_new_code_and_keeps_the_data(work: Workspace) -> None:
    """An edited handler answers, with what the instance had before."""
    await start(work)
    await told(work, "my.note.add", text="one")
    done = await work.save("mods/my_mod/mod.py", MOD.replace('"limit": self.limit', '"limit": self.limit, "new": 1'))
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert await told(work) == {"greeting": "hello", "notes": ["one"], "limit": 10, "new": 1}


async def test_a_save_of_a_relative_import_reloads_the_mod(work: Workspace) -> None:
    """What the mod imports belongs to it."""
    await start(work)
    await work.save("mods/my_mod/words.py", "GREETING = 'good day'\n")
    assert (await told(work))["greeting"] == "good day"


@pytest.mark.parametrize(
    "statement",
    ["from my_mod.words import GREETING", "import my_mod.words\nGREETING = my_mod.words.GREETING",
     "from my_mod import words\nGREETING = words.GREETING", "import my_mod.words as w\nGREETING = w.GREETING"],
)  # fmt: skip
async def test_it_may_import_itself_by_its_bare_name(work: Workspace, statement: str) -> None:
    """`mods/` itself is on the import path of openagents; each module is still loaded once and reloaded on save."""
    await start(work, MOD.replace("from .words import GREETING", statement))
    assert work.modules() == ["mods.my_mod", "mods.my_mod.mod", "mods.my_mod.words"]
    await work.save("mods/my_mod/words.py", "GREETING = 'good day'\n")
    assert (await told(work))["greeting"] == "good day"


async def test_an_edited_constructor_takes_effect_where_nothing_was_changed_since(work: Workspace) -> None:
    """New attributes are there, other initial values too; what the mod has changed itself is left alone."""
    await start(work)
    await told(work, "my.note.add", text="one")
    edited = MOD.replace("self.limit = 10", "self.limit = 20\n        self.extra = {'a': 1}").replace(
        "self.notes = []", "self.notes = ['zero']"
    )
    edited = edited.replace('"limit": self.limit', '"limit": self.limit, "extra": self.extra')
    await work.save("mods/my_mod/mod.py", edited)
    assert await told(work) == {"greeting": "hello", "notes": ["one"], "limit": 20, "extra": {"a": 1}}


async def test_handlers_follow_the_edit(work: Workspace) -> None:
    """A handler that was added answers, one that was removed does not, one registered by hand runs its new code."""
    await start(work)
    edited = MOD.replace('@mod_event_handler("my.note.add")', '@mod_event_handler("my.note.put")')
    edited = edited.replace('{"by": "hand"}', '{"by": "other hand"}')
    await work.save("mods/my_mod/mod.py", edited)
    assert await told(work, "my.hand.ask") == {"by": "other hand"}
    assert (await told(work, "my.note.put", text="two"))["notes"] == ["two"]
    assert "no mod handles it" in (await work.ask("my.note.add", text="three")).message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        self.limit = 10", "        self.limit = 1 / 0"),
        ("import GREETING", "import NOTHING"),
        ("class", "clas"),
    ],
    ids=["constructor", "import", "syntax"],
)
async def test_a_failed_edit_changes_nothing(work: Workspace, old: str, new: str) -> None:
    """The instance serves on with its class, its data and its handlers, and the next good save is taken."""
    await start(work)
    await told(work, "my.note.add", text="one")
    inner, wrapper = work.instance("my_mod").inner, work.instance("my_mod")
    before = type(inner), type(wrapper), dict(vars(inner))
    done = await work.save("mods/my_mod/mod.py", MOD.replace(old, new, 1))
    assert [each.status for each in done.outcomes] == [Status.ROLLED_BACK]
    assert (type(inner), type(wrapper), dict(vars(inner))) == before
    assert (await told(work, "my.note.add", text="two"))["notes"] == ["one", "two"]
    done = await work.save("mods/my_mod/mod.py", MOD.replace("limit = 10", "limit = 30"))
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert (await told(work))["limit"] == 30


async def test_a_group_that_fails_gives_the_instance_its_class_back(work: Workspace) -> None:
    """Where another mod of the same change fails after the hand-over, the bridged one is exactly as it was."""
    shared = "from mods.my_mod.words import GREETING\n"
    broken = "def initialize(self):\n    return GREETING == 'hello'\n"
    work.mod("other", broken, shared)
    work.write("mods/my_mod/__init__.py", "")
    work.write("mods/my_mod/words.py", WORDS)
    work.write("mods/my_mod/mod.py", MOD)
    await work.start("./my_mod", "mods.other")
    await told(work, "my.note.add", text="one")
    inner = work.instance("my_mod").inner
    before = type(inner), dict(vars(inner)), list(inner._event_handlers)
    done = await work.save("mods/my_mod/words.py", "GREETING = 'good day'\n")
    assert {each.status for each in done.outcomes} == {Status.ROLLED_BACK}
    assert (type(inner), dict(vars(inner)), list(inner._event_handlers)) == before
    assert (await told(work, "my.note.add", text="two")) == {"greeting": "hello", "notes": ["one", "two"]}


async def test_its_data_lies_beside_its_source_and_is_no_source(work: Workspace) -> None:
    """As in openagents; that it writes there is no change."""
    await start(work)
    await told(work, "my.note.add", text="one")
    assert (work.folder / "mods/my_mod/notes.txt").read_text() == "one"
    assert work.folder / "mods/my_mod/notes.txt" not in dict(work.net.engine.knowledge.sources())


async def test_data_that_it_read_when_it_started_and_writes_itself_is_no_source_after_a_reload(work: Workspace) -> None:
    """What was read as a source first, and then written, stays data when the mod is reloaded."""
    reads = MOD.replace("self.limit = 10", "self.limit = 10\n").replace(
        "    async def _by_hand",
        "    def initialize(self):\n"
        "        file = self.get_storage_path() / 'notes.txt'\n"
        "        self.notes = file.read_text().split() if file.exists() else []\n"
        "        return True\n\n    async def _by_hand",
    )
    work.write("mods/my_mod/notes.txt", "zero")
    await start(work, reads)
    file = work.folder / "mods/my_mod/notes.txt"
    assert file in dict(work.net.engine.knowledge.sources())
    await told(work, "my.note.add", text="one")
    await work.net.reload_mod("my_mod")
    assert (await told(work))["notes"] == ["zero", "one"]
    assert file not in dict(work.net.engine.knowledge.sources())


async def test_a_mod_of_ours_may_become_one_of_openagents_and_back(work: Workspace) -> None:
    """Whatever the file says on save is what runs."""
    await start(work)
    ours = "from devserver import BaseMod, EventResponse, mod_event_handler\n\n\nclass MyMod(BaseMod):\n"
    ours += "    @mod_event_handler('my.note.list')\n    def listed(self, event):\n        return {'ours': True}\n"
    for text, expected in ((ours, {"ours": True}), (MOD, {"greeting": "hello", "notes": [], "limit": 10})):
        done = await work.save("mods/my_mod/mod.py", text)
        assert [each.status for each in done.outcomes] == [Status.APPLIED]
        assert await told(work) == expected


async def test_its_configuration_is_there_when_it_starts(work: Workspace) -> None:
    """What network.yaml says is in `config` before `bind_network` and `initialize`, in that order."""
    body = "    def bind_network(self, network):\n        super().bind_network(network)\n"
    body += "        self.seen = [dict(self.config)]\n\n    def initialize(self):\n"
    body += "        self.seen.append(self.network.network_id)\n\n    async def _by_hand"
    await start(work, MOD.replace("    async def _by_hand", body), size=3)
    assert work.instance("my_mod").inner.seen == [{"size": 3}, work.net.network_id]


async def test_initialize_that_returns_false_is_a_failure_that_leaves_nothing(work: Workspace) -> None:
    """Nothing runs, and the channels that it made while it started are gone."""
    work.write("mods/my_mod/__init__.py", "")
    work.write("mods/my_mod/words.py", WORDS)
    body = "    def initialize(self):\n        self.network.event_gateway.create_channel('half-made')\n"
    body += "        return False\n\n    async def _by_hand"
    work.write("mods/my_mod/mod.py", MOD.replace("    async def _by_hand", body))
    await work.start("./my_mod")
    assert [each.status for each in work.outcomes()] == [Status.FAILED]
    assert work.running() == {} and work.net.directory.channels() == ()


async def test_what_it_starts_ends_with_it(work: Workspace) -> None:
    """Tasks started while the mod was bound, before a reload and after, are cancelled when it is unloaded."""
    body = "    def bind_network(self, network):\n        super().bind_network(network)\n"
    body += (
        "        self.task = asyncio.get_running_loop().create_task(asyncio.Event().wait())\n\n    async def _by_hand"
    )
    await start(work, "import asyncio\n" + MOD.replace("    async def _by_hand", body))
    task = work.instance("my_mod").inner.task
    await work.net.reload_mod("my_mod")
    assert not task.done()
    await work.net.unload_mod("my_mod")
    await work.end()
    assert task.cancelled()


async def test_an_async_shutdown_is_awaited(work: Workspace) -> None:
    """It has ended when the network has."""
    body = "    async def shutdown(self):\n        await asyncio.sleep(0)\n"
    body += "        (self.get_storage_path() / 'ended').touch()\n        return True\n\n    async def _by_hand"
    await start(work, "import asyncio\n" + MOD.replace("    async def _by_hand", body))
    await work.end()
    assert (work.folder / "mods/my_mod/ended").exists()


async def test_an_overridden_process_event_decides_itself(work: Workspace) -> None:
    """It is asked for every event, whatever the mod has registered."""
    body = "    async def process_event(self, event):\n"
    body += "        if event.event_name == 'quite.another.event':\n            return {'any': 'answer'}\n"
    body += "        return await super().process_event(event)\n\n    async def _by_hand"
    await start(work, MOD.replace("    async def _by_hand", body))
    assert await told(work, "quite.another.event") == {"any": "answer"}
    assert (await told(work))["notes"] == []


async def test_the_class_is_found_as_in_openagents_but_never_an_imported_helper(work: Workspace) -> None:
    """With no name that fits, the mod's own class is taken, not the first in the alphabet."""
    helper = "from openagents.core.base_mod import BaseMod\n\n\nclass AaBase(BaseMod):\n    pass\n"
    work.write("helpers/__init__.py", "")
    work.write("helpers/base.py", helper)
    text = MOD.replace("class MyMod(BaseMod)", "class Thing(AaBase)")
    await start(work, text.replace("from .words", "from helpers.base import AaBase\nfrom .words"))
    assert type(work.instance("my_mod").inner).__name__ == "Thing"


async def test_a_mod_that_is_loaded_again_under_a_running_handler_starts_after_the_end_of_the_old_one(
    work: Workspace,
) -> None:
    """The handler is answered, the old instance ends once and before the new one starts, and its data goes on."""
    body = """    @mod_event_handler("my.wait.begin")
    async def wait(self, event: Event):
        GATE.append(asyncio.Event())
        await GATE[0].wait()
        return EventResponse(success=True, data={"notes": list(self.notes)})

    def initialize(self):
        tell("start")
        return True

    def shutdown(self):
        tell("end")
        self.notes.clear()
        return True

    async def _by_hand"""
    head = "import asyncio\nfrom helpers.story import GATE, tell\n"
    work.write("helpers/__init__.py", "")
    # A file: what a mod puts into a list of another module is taken back at its end.
    told_to = work.folder / "story.txt"
    tell = f"def tell(word):\n    with open({str(told_to)!r}, 'a') as file:\n        file.write(word + ' ')\n"
    work.write("helpers/story.py", "GATE = []\n\n\n" + tell)
    work.mod("keeper", "", "from helpers.story import GATE")
    await start(work, head + MOD.replace("    async def _by_hand", body))
    await work.net.load_mod("mods.keeper")
    import helpers.story as story  # type: ignore[import-not-found]

    await told(work, "my.note.add", text="one")
    asked = asyncio.create_task(work.ask("my.wait.begin"))
    await until(lambda: len(story.GATE) == 1)
    assert (await work.net.unload_mod("my_mod")).success
    assert (await work.net.load_mod("./my_mod")).success
    assert told_to.read_text().split() == ["start", "end", "start"]
    assert (await told(work))["notes"] == ["one"]
    story.GATE[0].set()
    assert (await asked).success
    await work.end()
    assert told_to.read_text().split() == ["start", "end", "start", "end"]


async def test_what_the_data_holds_of_replaced_code_runs_the_new_code(work: Workspace) -> None:
    """Objects that the mod made before a reload have the class that was saved since."""
    text = MOD.replace("class MyMod", "class Note:\n    def say(self):\n        return 'old'\n\n\nclass MyMod")
    text = text.replace("self.notes = []", "self.notes = []\n        self.kept = {'one': Note()}")
    text = text.replace('{"by": "hand"}', '{"say": self.kept["one"].say()}')
    await start(work, text)
    assert await told(work, "my.hand.ask") == {"say": "old"}
    await work.save("mods/my_mod/mod.py", text.replace("'old'", "'new'"))
    assert await told(work, "my.hand.ask") == {"say": "new"}


async def test_a_folder_that_a_constructor_asks_for_is_no_litter(work: Workspace) -> None:
    """Before it is bound a mod has a temporary folder, which goes with it; what holds the method gets the real one."""
    text = MOD.replace(
        "self.limit = 10", "self.early = self.get_storage_path()\n        self.late = self.get_storage_path"
    )
    text = text.replace('{"by": "hand"}', '{"early": str(self.early), "late": str(self.late())}')
    await start(work, text)
    answered = await told(work, "my.hand.ask")
    early = Path(answered["early"])
    assert answered["late"] == str(work.folder / "mods/my_mod")
    assert early.is_dir() and not early.is_relative_to(work.folder)  # noqa: ASYNC240
    await work.net.unload_mod("my_mod")
    await work.end()
    gc.collect()
    assert not early.exists()  # noqa: ASYNC240


STARTS = """    def initialize(self):
        self.size = self.config.get("size", 1)
        if self.size > 8:
            raise RuntimeError("too large")
        return True

    def shutdown(self):
        self.notes.clear()
        return True

    async def _by_hand"""


async def test_a_configuration_that_the_mod_refuses_leaves_it_running_with_its_data(work: Workspace) -> None:
    """The old one was ended to start the new one; it is started again and has what it had."""
    text = MOD.replace("    async def _by_hand", STARTS).replace('"limit": self.limit', '"size": self.size')
    await start(work, text, size=2)
    await told(work, "my.note.add", text="one")
    done = await work.save_yaml({"name": "./my_mod", "config": {"size": 9}})
    assert [each.status for each in done.outcomes] == [Status.ROLLED_BACK]
    assert await told(work) == {"greeting": "hello", "notes": ["one"], "size": 2}
    done = await work.save_yaml({"name": "./my_mod", "config": {"size": 3}})
    assert [each.status for each in done.outcomes] == [Status.APPLIED]
    assert await told(work) == {"greeting": "hello", "notes": ["one"], "size": 3}


async def test_a_mod_may_ask_to_be_started_anew_on_every_save(work: Workspace) -> None:
    """With `reload_mode = "exclusive"` an edited `initialize()` runs, and the data goes on."""
    text = MOD.replace("    async def _by_hand", STARTS).replace('"limit": self.limit', '"size": self.size')
    text = text.replace("class MyMod(BaseMod):", "class MyMod(BaseMod):\n    reload_mode = 'exclusive'\n")
    await start(work, text)
    await told(work, "my.note.add", text="one")
    await work.save("mods/my_mod/mod.py", text.replace('get("size", 1)', 'get("size", 5)'))
    assert await told(work) == {"greeting": "hello", "notes": ["one"], "size": 5}
