"""The torture list: after an edit a mod behaves as in a fresh start, apart from the state that was handed over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torture_cases import CODE, Case
from torture_cases_classes import CLASSES
from torture_cases_modules import MODULES
from torture_world import MakeWorld, World, assert_sound, probe

from devserver.model.facts import Status

pytestmark = pytest.mark.filterwarnings("error")

CASES = [*CODE, *CLASSES, *MODULES]

LIST = """
syntax_error import_exc_halfway import_error_missing_dep name_deleted method_deleted class_renamed new_base_class
default_args signature_changed closure_body closure_freevars decorator_changed decorated_body decorator_added
decorator_arg_changed lru_cache_body def_inside_if_try lambda_and_table method_body method_added super_call
init_changed_slots unrelated_edit_identity module_state dataclass_fields frozen_dataclass pydantic_fields from_import
import_attr from_import_class_subclassed chain3 circular pkg_reexport relative_import lazy_import_in_function new_file
file_deleted bg_thread bg_asyncio_task bg_asyncio_task_line_changed atexit_handlers logging_handlers signal_handler
registry_append generator_in_flight coroutine_in_flight held_bound_method_dispatcher touch_only save_unchanged
comment_only_edit bom_crlf utf8_locale_c future_annotations c_extension_dep data_file_dep memory_1000_reloads
"""
"""The torture list, case by case."""


async def _answers(world: World, questions: list[str]) -> dict[str, object]:
    return {question: await world.ask(question) for question in questions}


def _files(case: Case, place: str) -> dict[str, str | bytes | None]:
    return {"mods/probe.py": probe(case.imports), **(case.before if place == "before" else case.after)}


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
async def test_an_edit_shows_in_every_answer(world: MakeWorld, case: Case) -> None:
    """New code, held instances and whatever imports them answer as the files say, and a fresh start agrees."""
    here = world()
    here.write(_files(case, "before"))
    await here.start()
    await here.hold(case.hold)
    questions = list(case.asks)
    assert await _answers(here, questions) == {q: before for q, (before, _) in case.asks.items()}

    outcomes = await here.change(case.after)

    assert [(each.status, each.generation) for each in outcomes] == [(Status.APPLIED, 2)]
    assert case.note in outcomes[0].note
    assert ("still runs" in outcomes[0].note) == case.pinned
    assert await _answers(here, questions) == {q: after for q, (_, after) in case.asks.items()}
    await here.quiet()
    assert_sound(here, pinned=case.pinned)

    free = [each for each in questions if "held" not in each]
    answers = await _answers(here, free)
    await here.stop()
    await here.start()
    assert await _answers(here, free) == answers


def test_every_case_of_the_list_is_here() -> None:
    """Each of the 56 is named by a test of this folder."""
    sources = [each.read_text(encoding="utf-8") for each in Path(__file__).parent.glob("*.py")]
    named = "\n".join(each.replace(LIST, "") for each in sources)
    assert len(LIST.split()) == 56
    assert [each for each in LIST.split() if re.search(rf"\b{each}(_\w+)?\b", named) is None] == []
