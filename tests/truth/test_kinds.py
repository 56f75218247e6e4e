"""Kinds of code that reloaders are known to get wrong, each as a small mod: after a save the new code alone answers."""

from __future__ import annotations

import builtins

import pytest
from workspaces import Workspace, until

PROBE = """
from devserver import BaseMod, EventResponse, mod_event_handler

{top}

class ProbeMod(BaseMod):
    def initialize(self):
        {start}

    @mod_event_handler("probe.ask")
    async def ask(self, event):
        return EventResponse(True, "", {{"answer": {answer}}})
"""


class Probe:
    """A network with the mod `mods.probe`, and what it answers."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.reasons: list[str] = []

    async def start(self, top: str = "", *, answer: str, start: str = "pass", **files: str) -> None:
        """Run the first version. `files` are modules of the folder mods by their names."""
        for name, text in files.items():
            self.work.write(f"mods/{name}.py", text)
        self._write(top, answer, start)
        await self.work.start("mods.probe")
        self.work.net.engine.restart = self.reasons.extend  # type: ignore[method-assign]

    def _write(self, top: str, answer: str, start: str) -> None:
        self.work.write("mods/probe.py", PROBE.format(top=top, answer=answer, start=start))

    async def save(self, top: str = "", *, answer: str, start: str = "pass") -> str:
        """Save the next version; what became of it."""
        self._write(top, answer, start)
        done = await self.work.saved(self.work.folder / "mods/probe.py")
        return done.outcomes[0].status.value

    async def save_helper(self, name: str, text: str) -> list[str]:
        """Save another module of the folder mods; what became of the mods."""
        done = await self.work.save(f"mods/{name}.py", text)
        return [each.status.value for each in done.outcomes]

    async def ask(self) -> object:
        """The answer of the mod."""
        answer = await self.work.ask("probe.ask")
        assert answer.success, answer.message
        return (answer.data or {})["answer"]

    async def collected(self) -> None:
        """Wait until replaced code is proven to be gone, or a restart is asked for."""
        await until(lambda: bool(self.reasons) or not self.work.net.engine.proof.waits)


@pytest.fixture
def probe(work: Workspace) -> Probe:
    """Nothing runs yet."""
    return Probe(work)


# Builtins


async def test_a_translation_that_is_installed_is_there_at_once(probe: Probe) -> None:
    """`gettext.install` puts a function among the builtins, and the next line calls it."""
    top = "import gettext\ngettext.install('none')\nWORD = _('hello {n}')"
    await probe.start(top.format(n=1), answer="WORD + _('!')")
    assert await probe.ask() == "hello 1!"
    assert await probe.save(top.format(n=2), answer="WORD + _('?')") == "applied"
    assert await probe.ask() == "hello 2?"


async def test_a_builtin_that_initialize_sets_is_known_and_goes(probe: Probe) -> None:
    """To the mod itself as to all others; a version that does not set it does not find it."""
    await probe.start(start="import builtins; builtins.OA_WORD = 1", answer="OA_WORD")
    assert await probe.ask() == 1
    await probe.save(start="import builtins; builtins.OA_WORD = 2", answer="OA_WORD")
    assert await probe.ask() == 2
    await probe.save(answer="'OA_WORD' in dir(__import__('builtins'))")
    assert await probe.ask() is False


async def test_a_patched_builtin_counts_for_the_one_who_patches(probe: Probe) -> None:
    """And for helpers that were imported before; afterwards Python's own is there again."""
    top = "import builtins\nfrom mods import teller\n_own = builtins.ascii\nbuiltins.ascii = lambda x: _own(x) * {n}"
    teller = "def told():\n    return ascii(7)\n"
    await probe.start(top.format(n=2), answer="(ascii(5), teller.told())", teller=teller)
    assert await probe.ask() == ("55", "77")
    await probe.save(top.format(n=3), answer="(ascii(5), teller.told())")
    assert await probe.ask() == ("555", "777")
    await probe.save("from mods import teller", answer="(ascii(5), teller.told())")
    assert await probe.ask() == ("5", "7")
    assert builtins.ascii(5) == "5"


async def test_what_exec_imports_in_a_dict_of_its_own_is_a_source(probe: Probe) -> None:
    """Code without a module belongs to the module that executes it."""
    top = "names = {}\nexec('from mods import fact', names)\nFACT = names['fact'].N"
    await probe.start(top, answer="FACT", fact="N = 1\n")
    assert await probe.ask() == 1
    assert await probe.save_helper("fact", "N = 2\n") == ["applied"]
    assert await probe.ask() == 2


# Saves of several files


async def test_a_helper_and_those_who_newly_import_it_are_one_save(work: Workspace) -> None:
    """Mods that import a helper for the first time find it as it was saved, also where another mod had it before."""
    reads = "@mod_event_handler('{name}.number.get')\ndef get(self, event):\n"
    reads += "    return EventResponse(True, '', {{'n': {n}}})"
    work.write("mods/lib/one.py", "A = 1\n")
    work.mod("last", reads.format(name="last", n="one.A"), head="from mods.lib import one\n")
    work.mod("first", reads.format(name="first", n="0"))
    await work.start("mods.first", "mods.last")
    helper = work.write("mods/lib/one.py", "A = 2\nB = 3\n")
    first = work.mod("first", reads.format(name="first", n="B"), head="from mods.lib.one import B\n")
    last = work.mod("last", reads.format(name="last", n="one.B"), head="from mods.lib import one\n")
    done = await work.saved(first, last, helper)
    assert [each.status.value for each in done.outcomes] == ["applied", "applied"]
    assert [(await work.ask(f"{name}.number.get")).data for name in ("first", "last")] == [{"n": 3}, {"n": 3}]


# Saves that fail


async def test_a_failed_save_leaves_no_classes_behind(probe: Probe) -> None:
    """A base class and a weak set in a helper know those of the running version alone, as before."""
    hub = "import weakref\nclass Base:\n    pass\nKNOWN = weakref.WeakSet()\n"
    top = "from mods import hub\nclass Known(hub.Base):\n    n = {n}\nhub.KNOWN.add(Known)\n"
    told = "([each.n for each in hub.Base.__subclasses__()], [each.n for each in hub.KNOWN])"
    await probe.start(top.format(n=1), answer=told, hub=hub)
    assert await probe.save(top.format(n=2) + "1 / 0", answer=told) == "rolled_back"
    await probe.collected()
    assert await probe.ask() == ([1], [1])
    assert probe.reasons == []
