"""What a trigger leads to in a situation: each case is a file, which says both in words.

OA_DEV_UPDATE_GOLDEN=1 writes the files again.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from plan_cases import Case, in_words, live, saved, situation, source, spec, yaml

from devserver.model.change import ConfigChanged, LineAsked, LoadAsked, ReloadAsked, TidyAsked, UnloadAsked
from devserver.model.config import AgentGroup, ModSpec
from devserver.model.split import Line
from devserver.reload.plan import make_plan

GOLDEN = Path(__file__).parent / "golden"

BOARD = {"mods.kanban": ["mods.lib.board"], "mods.wiki": ["mods.lib.board"], "mods.lib.board": [], "mods.echo": []}
"""A helper of two mods, and a mod of its own."""

DEEP = {"mods.kanban": ["mods.lib.board"], "mods.lib.board": ["mods.lib.grid"], "mods.lib.grid": []}
THREE = (live("kanban", 3), live("wiki", 2), live("echo"))
AUTOMATIC = live("wiki", 2, version="1.2", listed=False, came_with="search")
SEARCH = live("search", requires=("mods.wiki>=1",))
NEEDING = (live("wiki", 2, version="1.2"), live("search", requires=("mods.wiki>=1",)))

GPU = frozenset({"gpu-1"})
ON_GPU = ModSpec("mods.wiki", runs_on="gpu-1")
TWO_HOSTS = (live("kanban", 3), live("wiki", 2, host="gpu-1"))

CASES = {
    # Files
    "file_of_one_mod": Case(
        "A saved mod is reloaded, and no other.",
        saved("mods.echo"),
        situation(THREE, imports=BOARD, stale=["mods.echo"]),
    ),
    "helper_of_two_mods": Case(
        "A saved helper reloads the mods that import it, as one.",
        saved("mods.lib.board"),
        situation(THREE, imports=BOARD, stale=["mods.lib.board"]),
    ),
    "helper_of_nobody": Case(
        "A saved file that no mod was made from leads to nothing.",
        saved("mods.lib.unused"),
        situation(THREE, imports=BOARD),
    ),
    "chain_of_imports": Case(
        "The reason names what lies between the saved helper and the mod.",
        saved("mods.lib.grid"),
        situation([live("kanban", 3)], imports=DEEP, stale=["mods.lib.grid"]),
    ),
    "package_init": Case(
        "The __init__ of a package is a source of every mod in it.",
        saved("mods/"),
        situation(THREE[:2], imports={"mods/": [], **BOARD}, stale=["mods/"]),
    ),
    "module_of_a_package": Case(
        "A module of a mod's own package reloads what stands between it and the mod, and no more.",
        saved("mods.wiki.pages"),
        situation(
            [live("wiki", 2, entry="mods.wiki.mod")],
            imports={
                "mods.wiki/": [],
                "mods.wiki.mod": ["mods.wiki.pages", "mods.wiki.text"],
                "mods.wiki.pages": [],
                "mods.wiki.text": [],
            },
            stale=["mods.wiki.pages"],
        ),
    ),
    "import_cycle": Case(
        "Modules that import each other are executed together.",
        saved("mods.lib.a"),
        situation(
            [live("echo")],
            imports={"mods.echo": ["mods.lib.a"], "mods.lib.a": ["mods.lib.b"], "mods.lib.b": ["mods.lib.a"]},
            stale=["mods.lib.a"],
        ),
    ),
    "star_import": Case(
        "A module that only `import *` may lead to is found all the same.",
        saved("mods.lib.grid"),
        situation(
            [live("kanban")],
            imports={"mods.kanban": ["mods.lib", "mods.lib.*"], "mods.lib.grid": []},
            stale=["mods.lib.grid"],
        ),
    ),
    "two_files_at_once": Case(
        "Files of unrelated mods that are saved at once are reloaded each for itself.",
        saved("mods.echo", "mods.lib.grid"),
        situation(THREE, imports=DEEP | {"mods.echo": []}, stale=["mods.echo", "mods.lib.grid"]),
    ),
    "two_files_of_one_mod": Case(
        "The reason names one of the saved files of a mod, and how many more.",
        saved("mods.kanban", "mods.lib.board", "mods.lib.grid"),
        situation(THREE, imports=DEEP, stale=["mods.kanban", "mods.lib.board", "mods.lib.grid"]),
    ),
    "two_helpers_link_three_mods": Case(
        "Mods that share changed modules with one another in turn are one group.",
        saved("mods.lib.a", "mods.lib.b"),
        situation(
            THREE,
            imports={
                "mods.kanban": ["mods.lib.a"],
                "mods.wiki": ["mods.lib.a", "mods.lib.b"],
                "mods.echo": ["mods.lib.b"],
                "mods.lib.a": [],
                "mods.lib.b": [],
            },
            stale=["mods.lib.a", "mods.lib.b"],
        ),
    ),
    "saved_imports_link_mods": Case(
        "A mod whose saved source imports a helper of the same save, for the first time, goes with those that had it.",
        saved("mods.echo", "mods.wiki", "mods.lib.grid"),
        situation(
            [live("echo"), live("wiki")],
            imports={"mods.wiki": ["mods.lib.grid"], "mods.lib.grid": []},
            stale=["mods.echo", "mods.wiki", "mods.lib.grid"],
            gains={"mods.echo": frozenset({"mods.lib.grid"})},
        ),
    ),
    "helpers_first": Case(
        "A mod that changes with a helper comes before those that change alone, which may newly need it.",
        saved("mods.echo", "mods.lib.grid"),
        situation(
            [live("echo"), live("wiki")],
            imports={"mods.wiki": ["mods.lib.grid"], "mods.lib.grid": []},
            stale=["mods.echo", "mods.lib.grid"],
        ),
    ),
    "need_links_mods": Case(
        "Mods of which one needs the other are reloaded as one, what is needed first.",
        saved("mods.wiki", "mods.search"),
        situation(NEEDING[::-1], stale=["mods.wiki", "mods.search"]),
    ),
    "source_gone": Case(
        "A mod whose own source is gone is held, and keeps no other from being reloaded.",
        saved("mods.echo", "mods.wiki"),
        situation(
            THREE,
            imports=BOARD,
            stale=["mods.echo", "mods.wiki"],
            deleted=frozenset([source("mods.echo")]),
            missing={"echo": source("mods.echo")},
        ),
    ),
    "source_gone_said_before": Case(
        "That a source is gone is said once.",
        saved("mods.echo"),
        situation(
            THREE,
            stale=["mods.echo"],
            deleted=frozenset([source("mods.echo")]),
            missing={"echo": source("mods.echo")},
            missed=frozenset(["echo"]),
        ),
    ),
    "source_gone_and_helper_changed": Case(
        "Mods that share a changed helper with one whose source is gone are held with it: all are reloaded, or none.",
        saved("mods.kanban", "mods.lib.board"),
        situation(
            THREE,
            imports=BOARD,
            stale=["mods.kanban", "mods.lib.board"],
            deleted=frozenset([source("mods.kanban")]),
            missing={"kanban": source("mods.kanban")},
        ),
    ),
    "helper_gone": Case(
        "A helper that is gone is tried without: the error of a fresh start says who imports it.",
        saved("mods.lib.board"),
        situation(THREE, imports=BOARD, stale=["mods.lib.board"], deleted=frozenset([source("mods.lib.board")])),
    ),
    "still_stale": Case(
        "A reload takes in what an earlier save has changed in the same mod, and tried in vain.",
        saved("mods.lib.board"),
        situation(THREE, imports=BOARD, stale=["mods.wiki", "mods.lib.board"]),
    ),
    "stale_elsewhere": Case(
        "What an earlier save has broken in another mod is left alone.",
        saved("mods.echo"),
        situation(THREE, imports=BOARD, stale=["mods.wiki", "mods.echo"]),
    ),
    "data_file": Case(
        "A data file that a mod read while it was initialised is one of its sources.",
        saved("mods/wiki.json"),
        situation(THREE, imports=BOARD, stale_reads={"wiki": source("mods.wiki").with_suffix(".json")}),
    ),
    "config_of_a_failed_attempt": Case(
        "A listed mod is reloaded with what network.yaml says now, also when that did not load before.",
        saved("mods.echo"),
        situation([live("echo", config={"n": 1})], yaml(spec("echo", n=2)), stale=["mods.echo"]),
    ),
    "config_by_hand": Case(
        "A mod that was loaded by hand keeps the configuration it was loaded with.",
        saved("mods.echo"),
        situation([live("echo", config={"n": 1}, listed=False)], yaml(spec("echo", n=2)), stale=["mods.echo"]),
    ),
    "retry_of_a_load": Case(
        "A listed mod that did not load is tried again when a file has changed that the attempt depended on.",
        saved("mods.kanban"),
        situation(THREE[1:], yaml("kanban", "wiki", "echo"), retry=frozenset({"mods.kanban"})),
    ),
    "no_retry_without_change": Case(
        "A mod that did not load is left alone while nothing has changed that the attempt depended on.",
        saved("mods.echo"),
        situation(THREE[1:], yaml("kanban", "wiki", "echo"), stale=["mods.echo"]),
    ),
    "no_retry_of_a_disabled_mod": Case(
        "A mod that was switched off since it failed is not tried again.",
        saved("mods.kanban"),
        situation((), yaml(spec("kanban", enabled=False)), retry=frozenset({"mods.kanban"})),
    ),
    "retry_of_a_reload": Case(
        "A failed reload is tried again, with everything in the mod that is still stale.",
        saved("mods.lib.missing"),
        situation(THREE, imports=BOARD, stale=["mods.wiki"], retry=frozenset({"mods.wiki"})),
    ),
    # network.yaml
    "yaml_adds": Case(
        "A mod that network.yaml names is loaded, at its place.",
        ConfigChanged(yaml("kanban", "search", "wiki", "echo")),
        situation(THREE),
    ),
    "yaml_removes": Case(
        "A mod that network.yaml names no more is unloaded.", ConfigChanged(yaml("kanban", "echo")), situation(THREE)
    ),
    "yaml_misspells": Case(
        "A typing mistake in the path of a mod that runs ends nothing; another path does.",
        ConfigChanged(yaml("wikki", "new", "echo")),
        situation(
            THREE,
            yaml("wiki", "kanban", "echo"),
            absent={"mods.wikki": "no mod mods.wikki. Did you mean 'mods.wiki'?", "mods.new": "no mod mods.new"},
        ),
    ),
    "yaml_enables": Case(
        "A mod that is switched on is loaded.",
        ConfigChanged(yaml("kanban", "wiki", "echo")),
        situation(THREE[:2], yaml("kanban", "wiki", spec("echo", enabled=False))),
    ),
    "yaml_disables": Case(
        "A mod that is switched off is unloaded.",
        ConfigChanged(yaml("kanban", "wiki", spec("echo", enabled=False))),
        situation(THREE),
    ),
    "yaml_keeps_what_runs_by_hand": Case(
        "A mod that was loaded by hand is no concern of network.yaml.",
        ConfigChanged(yaml("wiki")),
        situation([live("wiki"), live("echo", listed=False)]),
    ),
    "yaml_reconfigures_in_place": Case(
        "A mod that takes its configuration in place is not reloaded.",
        ConfigChanged(yaml(spec("wiki", max_pages=200))),
        situation([live("wiki", config={"max_pages": 50}, takes_config=True)]),
    ),
    "yaml_reconfigures_by_reload": Case(
        "Another mod is reloaded with its new configuration; each difference is named with both values.",
        ConfigChanged(yaml(spec("wiki", max_pages=200, rules={"own": True, "new": None}))),
        situation([live("wiki", config={"max_pages": 50, "rules": {"own": False}, "old": "x" * 60})]),
    ),
    "yaml_reorders": Case(
        "Of mods that change places the fewest are moved.",
        ConfigChanged(yaml("echo", "kanban", "wiki")),
        situation(THREE),
    ),
    "yaml_reorders_all": Case(
        "Turned round, all but one are moved.", ConfigChanged(yaml("echo", "wiki", "kanban")), situation(THREE)
    ),
    "yaml_renames": Case(
        "A mod under another path is another mod: the one goes, then the other comes.",
        ConfigChanged(yaml("kanban", "notes.wiki", "echo")),
        situation(THREE),
    ),
    "yaml_spells_a_path_otherwise": Case(
        "./wiki and mods.wiki are one mod.", ConfigChanged(yaml("kanban", "./wiki", "echo")), situation(THREE)
    ),
    "yaml_says_the_same": Case(
        "A network.yaml that asks for what runs leads to nothing.",
        ConfigChanged(yaml("kanban", "wiki", "echo")),
        situation(THREE),
    ),
    "yaml_settings": Case(
        "Settings that need a restart are named with both values, and change nothing.",
        ConfigChanged(yaml("wiki", port=8800, groups={"crew": AgentGroup("crew", "other hash")}, default_group="crew")),
        situation([live("wiki")], yaml("wiki", groups={"crew": AgentGroup("crew", "hash")})),
    ),
    "yaml_loads_in_order_of_need": Case(
        "Mods are loaded in the order of need, and asked in the order of network.yaml.",
        ConfigChanged(yaml("search", "wiki")),
        situation((), yaml(), declared={"search": (("mods.wiki>=1",), "1"), "wiki": ((), "1.2")}),
    ),
    "yaml_needs_what_is_missing": Case(
        "A mod whose need is nowhere is not loaded; the others are.",
        ConfigChanged(yaml("search", "echo")),
        situation((), yaml(), declared={"search": (("mods.wiki>=1",), "1")}, absent={"mods.wiki": "no mod mods.wiki"}),
    ),
    "yaml_needs_what_it_does_not_list": Case(
        "What a mod needs is loaded before it, with its own needs.",
        ConfigChanged(yaml("search", "echo")),
        situation(
            (),
            yaml(),
            declared={"search": (("mods.wiki>=1",), "1"), "wiki": (("mods.text",), "1.2"), "text": ((), "1")},
        ),
    ),
    "yaml_needs_what_it_disables": Case(
        "What network.yaml disables is not loaded, whichever mod needs it.",
        ConfigChanged(yaml("search", spec("wiki", enabled=False))),
        situation((), yaml(), declared={"search": (("mods.wiki>=1",), "1"), "wiki": ((), "1.2")}),
    ),
    "yaml_needs_an_unsuitable_version": Case(
        "What would come along in a version that does not suit does not come.",
        ConfigChanged(yaml("search")),
        situation((), yaml(), declared={"search": (("mods.wiki>=2",), "1"), "wiki": ((), "1.2")}),
    ),
    "yaml_needs_a_need_that_is_missing": Case(
        "Why a mod cannot come along is said where it is needed.",
        ConfigChanged(yaml("search")),
        situation(
            (),
            yaml(),
            declared={"search": (("mods.wiki",), "1"), "wiki": (("mods.text>=3",), "1.2")},
            absent={"mods.text": "no mod mods.text: looked for mods/text.py"},
        ),
    ),
    "yaml_works_with_what_comes_later": Case(
        "A mod comes after those that it works with, unless a circle leads there.",
        ConfigChanged(yaml("search", "analytics", "a", "b")),
        situation(
            (),
            yaml(),
            declared={
                "search": ((), "1", ("mods.analytics>=2",)),
                "a": (("mods.b",), "1"),
                "b": ((), "1", ("mods.a",)),
            },
        ),
    ),
    "yaml_needs_what_nothing_suits": Case(
        "Where two mods exclude each other's versions, that is said.",
        ConfigChanged(yaml("wiki", "board", "search")),
        situation(
            [live("wiki", version="1.0"), live("board", requires=("mods.wiki<2",))],
            declared={"search": (("mods.wiki>=2",), "1")},
        ),
    ),
    "yaml_needs_another_version": Case(
        "A mod that needs another version than there is is not loaded.",
        ConfigChanged(yaml("wiki", "search")),
        situation([live("wiki", version="1.9")], declared={"search": (("mods.wiki>=2",), "1")}),
    ),
    "yaml_needs_in_a_circle": Case(
        "Mods that need each other in a circle are not loaded, and the circle is named.",
        ConfigChanged(yaml("a", "b", "echo")),
        situation((), yaml(), declared={"a": (("mods.b",), "1"), "b": (("./a",), "1")}),
    ),
    "yaml_needs_what_it_removes": Case(
        "What network.yaml removes and a new mod needs keeps running.",
        ConfigChanged(yaml("search")),
        situation([live("wiki")], declared={"search": (("mods.wiki",), "1")}),
    ),
    "yaml_needs_what_cannot_be_read": Case(
        "A need that is written wrongly keeps its mod from being loaded, and the others come.",
        ConfigChanged(yaml("search", "echo")),
        situation((), yaml(), declared={"search": (("mods.wiki is nice",), "1")}),
    ),
    "yaml_removes_what_is_needed": Case(
        "A mod that others need keeps running, with what it needs itself.",
        ConfigChanged(yaml("search")),
        situation([live("wiki", requires=("mods.store",)), live("store"), live("search", requires=("mods.wiki",))]),
    ),
    "yaml_removes_in_order_of_need": Case(
        "Of mods that go together the one that needs the other goes first.",
        ConfigChanged(yaml()),
        situation([live("search", requires=("mods.wiki",)), live("wiki")]),
    ),
    "yaml_two_paths_with_one_id": Case(
        "Of two mods with one id the first is loaded; the other is not, and it is said whose the id is.",
        ConfigChanged(yaml("wiki", "notes.wiki")),
        situation((), yaml()),
    ),
    "yaml_id_of_a_mod_loaded_by_hand": Case(
        "A mod by hand keeps its id against network.yaml.",
        ConfigChanged(yaml("notes.wiki")),
        situation([live("wiki", 4, listed=False)], yaml()),
    ),
    "yaml_path_that_is_an_id": Case(
        "A path is no id: a mod `wiki.wiki` that goes makes room for one at `mods.wiki`.",
        ConfigChanged(yaml("mods.wiki")),
        situation([live("wiki", path="wiki.wiki")]),
    ),
    # Asked
    "reload_one": Case(
        "A reload by hand executes a mod's own modules, and of what it imports only what has changed.",
        ReloadAsked(("wiki",), "key m"),
        situation(
            THREE,
            imports={"mods.wiki": ["mods.lib.board", "mods.lib.text"], "mods.lib.board": [], "mods.lib.text": []},
            stale=["mods.lib.text"],
        ),
    ),
    "reload_all": Case("A reload of all reloads every mod.", ReloadAsked((), "key r"), situation(THREE, imports=BOARD)),
    "reload_takes_importers_along": Case(
        "A mod that imports modules of another is reloaded with it, and the reason does not claim a change.",
        ReloadAsked(("wiki",), "key m"),
        situation(THREE[1:], imports={"mods.wiki": [], "mods.echo": ["mods.wiki"]}),
    ),
    "reload_by_path": Case(
        "A mod goes by its path as by its id.", ReloadAsked(("./wiki", "wiki"), "key m"), situation(THREE[:2])
    ),
    "reload_of_nobody": Case(
        "An id that no mod has is answered with the nearest.", ReloadAsked(("mods.wikki",), "asked"), situation(THREE)
    ),
    "reload_of_a_listed_mod": Case(
        "A reload of a mod that is listed and does not run loads it.",
        ReloadAsked(("wiki",), "asked"),
        situation(THREE[:1], yaml("kanban", "wiki")),
    ),
    "reload_of_a_disabled_mod": Case(
        "A reload of a mod that is switched off is refused.",
        ReloadAsked(("wiki",), "asked"),
        situation(THREE[:1], yaml("kanban", spec("wiki", enabled=False))),
    ),
    "load": Case(
        "A mod is loaded by hand, after all others.", LoadAsked("mods.wiki", {"public": True}), situation(THREE[:1])
    ),
    "load_as_listed": Case(
        "A mod loaded by hand as network.yaml lists it is network.yaml's, with its configuration and place.",
        LoadAsked("mods.wiki"),
        situation([live("kanban"), live("echo")], yaml("kanban", spec("wiki", n=2), "echo")),
    ),
    "load_otherwise_than_listed": Case(
        "With another configuration it is the caller's.",
        LoadAsked("mods.wiki", {"n": 3}),
        situation([live("kanban"), live("echo")], yaml("kanban", spec("wiki", n=2), "echo")),
    ),
    "load_of_a_disabled_mod": Case(
        "A mod that is switched off can be loaded by hand, and has the configuration that stands there.",
        LoadAsked("mods.wiki"),
        situation((), yaml(spec("wiki", enabled=False, n=2))),
    ),
    "load_again": Case("A mod that runs is not loaded again.", LoadAsked("./wiki"), situation(THREE)),
    "load_with_the_id_of_another": Case("Two mods cannot have one id.", LoadAsked("notes.wiki"), situation(THREE)),
    "load_with_a_need": Case(
        "What a mod needs comes along.",
        LoadAsked("mods.search"),
        situation(THREE[:1], declared={"search": (("mods.wiki>=1",), "1"), "wiki": ((), "1.2")}),
    ),
    "load_of_what_came_along": Case(
        "A mod that came along and is asked for stays from then on.",
        LoadAsked("mods.wiki"),
        situation([AUTOMATIC, SEARCH]),
    ),
    "save_adds_a_need": Case(
        "What a saved mod needs is loaded before it is reloaded.",
        saved("mods.search"),
        situation(
            [live("search")],
            stale=["mods.search"],
            declared={"search": (("mods.wiki>=1",), "2"), "wiki": ((), "1.2")},
        ),
    ),
    "save_adds_a_need_that_does_not_suit": Case(
        "Nothing comes along for a reload that is held.",
        saved("mods.search"),
        situation(
            [live("search")],
            stale=["mods.search"],
            declared={"search": (("mods.wiki>=2",), "2"), "wiki": ((), "1.2")},
        ),
    ),
    "save_makes_a_circle": Case(
        "A need that closes a circle is held, and the circle is named.",
        saved("mods.wiki"),
        situation([AUTOMATIC, SEARCH], stale=["mods.wiki"], declared={"wiki": (("mods.search",), "2")}),
    ),
    "save_brings_an_unsuitable_version": Case(
        "A version that does not suit those who need the mod is held.",
        saved("mods.wiki"),
        situation([AUTOMATIC, SEARCH], stale=["mods.wiki"], declared={"wiki": ((), "0.9")}),
    ),
    "save_of_both_sides": Case(
        "Both sides saved together go together.",
        saved("mods.wiki", "mods.search"),
        situation(
            [AUTOMATIC, SEARCH],
            stale=["mods.wiki", "mods.search"],
            declared={"wiki": ((), "3"), "search": (("mods.wiki>=3",), "2")},
        ),
    ),
    "save_needs_packages": Case(
        "A package that is missing, of another version, or imported in another one, holds a mod.",
        saved("mods.search"),
        situation(
            [live("search")],
            stale=["mods.search"],
            declared={"search": ((), "2", (), ("idna>=3,<4", "Text_Tools>=2", "orjson>=3.2", "x; python_version<'3'"))},
            packages={"text-tools": "1.0", "orjson": "3.3"},
            imported={"orjson": "3.1"},
        ),
    ),
    "tidy": Case(
        "What came along goes when the last mod that needs it has gone, with what it needed itself.",
        TidyAsked(),
        situation([live("store", listed=False, came_with="wiki"), replace(AUTOMATIC, requires=("mods.store",))]),
    ),
    "tidy_after_a_failure": Case(
        "Also where that one did not load.",
        TidyAsked(failed=("search",)),
        situation([AUTOMATIC]),
    ),
    "tidy_nothing": Case("What is needed stays.", TidyAsked(), situation([AUTOMATIC, SEARCH])),
    "tidy_what_is_listed_no_more": Case(
        "What network.yaml has given up goes once no mod needs it.", TidyAsked(), situation([live("wiki")], yaml())
    ),
    "unload_cascade": Case(
        "With those that need it, dependents first.",
        UnloadAsked("wiki", cascade=True),
        situation([AUTOMATIC, SEARCH, live("index", requires=("mods.search",)), live("echo")]),
    ),
    "unload": Case("A mod is unloaded.", UnloadAsked("wiki"), situation(THREE)),
    "unload_of_nobody": Case("An id that no mod has is answered with what runs.", UnloadAsked("zzz"), situation(THREE)),
    "unload_what_is_needed": Case("A mod that others need is not unloaded.", UnloadAsked("wiki"), situation(NEEDING)),
    "unload_by_force": Case("By force it is.", UnloadAsked("wiki", force=True), situation(NEEDING)),
    # Several hosts
    "helper_of_two_hosts": Case(
        "A saved helper of mods on two hosts is one group over both.",
        saved("mods.lib.board"),
        situation(TWO_HOSTS, imports=BOARD, stale=["mods.lib.board"], here="laptop", hosts=GPU),
    ),
    "helper_of_a_host_that_is_away": Case(
        "What runs here does not wait for a host that is away, which follows when it is back.",
        saved("mods.lib.board"),
        situation(TWO_HOSTS, imports=BOARD, stale=["mods.lib.board"], here="laptop"),
    ),
    "mod_for_a_host_that_has_not_joined": Case(
        "A mod waits for its host, and says for which.",
        ConfigChanged(yaml("echo", ON_GPU)),
        situation((live("echo"),), yaml("echo"), here="laptop"),
    ),
    "host_has_joined": Case(
        "A mod is loaded on the host that network.yaml names, once that is there.",
        ConfigChanged(yaml("echo", ON_GPU)),
        situation((live("echo"),), yaml("echo", ON_GPU), here="laptop", hosts=GPU),
    ),
    "mod_moves": Case(
        "A mod that network.yaml names another host for moves there.",
        ConfigChanged(yaml("kanban", ON_GPU)),
        situation((live("kanban", 3), live("wiki", 2)), here="laptop", hosts=GPU),
    ),
    "mod_moves_home": Case(
        "Without runs_on a mod runs where network.yaml is.",
        ConfigChanged(yaml("kanban", "wiki")),
        situation(TWO_HOSTS, yaml("kanban", ON_GPU), here="laptop", hosts=GPU),
    ),
    "version_beside_a_mod_of_another_host": Case(
        "A version cannot begin beside a mod of another host.",
        LineAsked("wiki", Line(label="next")),
        situation(TWO_HOSTS, here="laptop", hosts=GPU),
    ),
    "mod_with_a_version_beside_it_does_not_move": Case(
        "A version never outlives its mod here.",
        ConfigChanged(yaml("kanban", ON_GPU)),
        situation(
            (live("kanban", 3), live("wiki", 2), live("wiki@next", line=Line(label="next"), listed=False)),
            here="laptop",
            hosts=GPU,
        ),
    ),
    "host_without_hosts": Case(
        "In a network of one host, runs_on changes nothing.",
        ConfigChanged(yaml(ON_GPU)),
        situation((), yaml()),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_situation_and_a_trigger_make_the_plan_that_is_written_down(name: str) -> None:
    """The plan of each case, in words, is that of its file."""
    case, file = CASES[name], GOLDEN / f"plan_{name}.txt"
    text = in_words(case, make_plan(case.trigger, case.situation))
    if os.environ.get("OA_DEV_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_every_file_has_its_case() -> None:
    """No file is left of a case that is gone."""
    assert sorted(each.stem.removeprefix("plan_") for each in GOLDEN.glob("plan_*.txt")) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_plan_follows_from_its_situation_alone(name: str) -> None:
    """The same situation and trigger make the same plan again, and are not changed by it."""
    case = CASES[name]
    before = repr(case.situation)
    assert make_plan(case.trigger, case.situation) == make_plan(case.trigger, case.situation)
    assert repr(case.situation) == before
