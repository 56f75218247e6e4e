"""An import that does not come back ends nothing but itself."""

from __future__ import annotations

from workspaces import Workspace

from devserver.model.facts import Status

ANSWERS = """
    @mod_event_handler("slow.ask")
    def ask(self, event):
        return EventResponse(True, "", {"code": 1})
"""


async def test_an_import_that_hangs_is_given_up_and_the_last_generation_serves(work: Workspace) -> None:
    """The outcome names the module and the limit, and the next save serves again."""
    work.mod("slow", ANSWERS)
    await work.start("mods.slow", dev={"limits": {"imports": 0.2}})
    work.mod("slow", ANSWERS.replace("1}", "2}"), head="import threading\nthreading.Event().wait()\n")
    answer = await work.net.reload_mod("slow")
    assert not answer.success
    assert "mods.slow was still importing after 0.2 s, gave up (dev.limits.imports)" in answer.message
    assert (await work.ask("slow.ask")).data == {"code": 1}

    words = ", ".join(f"word_{n}=1" for n in range(20_000))
    work.mod("slow", ANSWERS.replace("1}", "2}"), head=f"def f(**given):\n    pass\n\n\nf({words})\n")
    answer = await work.net.reload_mod("slow")
    assert "mods.slow was still importing after 0.2 s, gave up (dev.limits.imports)" in answer.message

    work.mod("slow", ANSWERS.replace("1}", "3}"))
    assert (await work.net.reload_mod("slow")).success
    assert (await work.ask("slow.ask")).data == {"code": 3}


async def test_module_level_state_that_stayed_is_named(work: Workspace) -> None:
    """The outcome's note says which containers the fresh module took over."""
    work.mod("slow", ANSWERS, head="SEEN = {}\n")
    await work.start("mods.slow")
    work.mod("slow", ANSWERS.replace("1}", "2}"), head="SEEN = {}\n")
    await work.net.reload_mod("slow")
    outcomes = [o for fact in work.facts for o in getattr(fact, "outcomes", ())]
    assert outcomes[-1].status is Status.APPLIED
    assert "kept mods.slow.SEEN" in outcomes[-1].note
