"""What the keys and values of a network.yaml are refused for, and what its author is told."""

from __future__ import annotations

import pytest

from devserver.config.network_yaml import parse_network
from devserver.errors import ConfigError
from devserver.model.facts import ErrorFacts

NAMED = "network:\n  name: demo\n"


def problems(text: bytes | str) -> tuple[ErrorFacts, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_network(text)
    return caught.value.problems


def told(text: bytes | str) -> str:
    """The first problem as line, column, message and hint."""
    first = problems(text)[0]
    assert first.where is not None
    return f"{first.where.line}:{first.where.column} {first.message} ({first.hint})"


def mods(entries: str) -> str:
    return f"{NAMED}  mods: {entries}\n"


def http(config: str) -> str:
    return f"{NAMED}  transports:\n    - type: http\n      config: {{{config}}}\n"


NAME_HINT = "begin it with 'name:', as in '- name: mods.echo'"
ENTRY = "is a mapping with the keys name, enabled and config"
UNKNOWN = "is not a known key"


def test_every_problem_is_told_at_its_place_in_the_order_of_the_file() -> None:
    """One reading finds all problems, however they are found."""
    text = (
        "network:\n  mods:\n    - name: mods.a\n      enbaled: true\n    - mods.b\n    - name: mods.a\n"
        "  port: 070\n  port: 1\n  name: !x demo\ndev: {limits: {drain: 0}}\n"
    )
    assert [
        (f"mods[0].enbaled {UNKNOWN}", 4, "did you mean 'enabled'?"),
        (f"mods[1] {ENTRY}", 5, NAME_HINT),
        ("the mod mods.a is listed twice: lines 3 and 6", 6, None),
        ("port is a whole number from 1 to 65535, not 070", 7, "write it without leading zeros"),
        ("the key 'port' stands twice in one mapping: lines 7 and 8", 8, None),
        (
            "tags (!name) are not used here",
            9,
            "remove the tag; values are text, numbers, true, false, null, lists and mappings",
        ),
        ("dev.limits.drain is a number of seconds above 0, at most 86400, not 0", 10, None),
    ] == [(each.message, each.where and each.where.line, each.hint) for each in problems(text)]


def test_a_secret_of_the_wrong_type_is_not_repeated() -> None:
    """The message says what sort of value stands there."""
    text = f"{NAMED}  agent_groups: {{admin: {{password_hash: 12345}}}}\n"
    assert (
        problems(text)[0].message == "agent_groups.admin.password_hash is a text that is not empty, not a single value"
    )


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("null", "3:9 mods is a list, not null (write mods: [] for none)"),
        ("", "3:8 mods is a list, not null (write mods: [] for none)"),
        ("{}", "3:9 mods is a list, not a mapping (None)"),
        ('"x"', "3:9 mods is a list, not the text 'x' (None)"),
        ("[null]", f"3:10 mods[0] {ENTRY} ({NAME_HINT})"),
        ("[1]", f"3:10 mods[0] {ENTRY} ({NAME_HINT})"),
        ("[mods.echo]", f"3:10 mods[0] {ENTRY} ({NAME_HINT})"),
        ("[{}]", "3:10 mods[0].name is missing (None)"),
        ("[{name: 5}]", "3:17 mods[0].name is a text that is not empty, not 5 (put it in quotes)"),
        ('[{name: ""}]', "3:17 mods[0].name is a text that is not empty, not the text '' (None)"),
        ("[{name: null}]", "3:17 mods[0].name is a text that is not empty, not null (None)"),
        ("[{name: [a]}]", "3:17 mods[0].name is a text that is not empty, not a list (None)"),
        ("[{name: a, config: [1]}]", "3:28 mods[0].config is a mapping, not a list (None)"),
        ("[{name: a, config: 5}]", "3:28 mods[0].config is a mapping, not 5 (None)"),
        ("[{name: a}, {name: a}]", "3:21 the mod a is listed twice: lines 3 and 3 (None)"),
        ("[{name: mods.a}, {name: ./a}]", "3:26 the mod ./a is listed twice: lines 3 and 3 (None)"),
        ("[{nmae: a}]", f"3:11 mods[0].nmae {UNKNOWN} (did you mean 'name'?)"),
        ("[{name: a, conifg: {}}]", f"3:20 mods[0].conifg {UNKNOWN} (did you mean 'config'?)"),
    ],
)
def test_a_list_of_mods_that_is_none_is_refused_by_key_path(entries: str, expected: str) -> None:
    """Each wrong entry is named by its index."""
    assert expected in [
        f"{e.where.line}:{e.where.column} {e.message} ({e.hint})" for e in problems(mods(entries)) if e.where
    ]


@pytest.mark.parametrize(
    "name",
    [
        "..x",
        ".x",
        "a..b",
        "a.",
        "/etc/x",
        "a/b",
        "./a/b",
        "./a.b",
        "./",
        "../a",
        "http://x",
        "a b",
        "1a",
        "a-b",
        "./../x",
        "__main__",
        "a.__init__",
        "a.import",
        "class",
        "ｏｓ",
        "оpenagents",
        "a\u200bb",
        "a\u202eb",
        "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q",
        "x" * 201,
        ".".join("a" * 500),
        "${MOD}",
        "a\\nb",
    ],
)
def test_what_is_no_dotted_python_name_names_no_mod(name: str) -> None:
    """The message is ASCII, short, and begins with the key path."""
    message = problems(mods(f'[{{name: "{name}"}}]'))[0].message
    assert message.startswith("mods[0].name")
    assert (message.isascii(), len(message) < 300) == (True, True)


@pytest.mark.parametrize(
    ("port", "hint"),
    [
        ("22:22", None),
        ("070", "write it without leading zeros"),
        ("NO", None),
        ('"80"', "write 80 without quotes"),
        ("0", None),
        ("-1", None),
        ("65536", None),
        ("1e9", None),
        ("1_000", None),
        ("8.0", None),
        (".nan", None),
        (".inf", None),
        ("true", None),
        ("null", None),
        ("[80]", None),
        ("'${PORT}'", None),
        ("9" * 5000, None),
    ],
)
def test_a_port_is_a_whole_number_from_1_to_65535(port: str, hint: str | None) -> None:
    """No other reading of YAML makes a number of it."""
    for text in (http(f"port: {port}"), f"{NAMED}  port: {port}\n"):
        first = problems(text)[0]
        assert "port is a whole number from 1 to 65535, not " in first.message
        assert hint == first.hint


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ('"false"', "did you mean false?"),
        ('"true"', "did you mean true?"),
        ("yes", "did you mean true?"),
        ("No", "did you mean false?"),
        ("off", "did you mean false?"),
        ("0", "did you mean false?"),
        ("1", "did you mean true?"),
        ("null", None),
        ("maybe", None),
        ("[true]", None),
    ],
)
def test_a_flag_is_true_or_false_and_no_other_word(written: str, hint: str | None) -> None:
    """A word that was meant for one of them says which."""
    first = problems(mods(f"[{{name: a, enabled: {written}}}]"))[0]
    assert ("mods[0].enabled is true or false, not ", hint) == (first.message[:38], first.hint)


@pytest.mark.parametrize("written", ["yes", "NO", "on", "Off", "070", "1_000", ".nan", "-.inf", "1e999", "9" * 19])
def test_a_mods_config_holds_nothing_that_readers_of_yaml_take_differently(written: str) -> None:
    """Nothing is guessed: the author is asked to write what is meant."""
    first = problems(mods(f"[{{name: a, config: {{deep: [{written}]}}}}]"))[0]
    assert "mods[0].config.deep[0] is " + written + ", which YAML readers take differently" == first.message
    assert first.hint is not None


@pytest.mark.parametrize(
    "text",
    [
        f"{NAMED}  node_id: ${{OA_SECRET}}\n",
        f"{NAMED}  node_id: '${{${{OA_SECRET}}}}'\n",
        mods("[{name: a, config: {key: '${OA_SECRET}'}}]"),
        mods("[{name: a, config: {key: '${GONE}'}}]"),
    ],
)
def test_environment_variables_are_not_filled_in_and_never_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is one is refused, without a look at it."""
    monkeypatch.setenv("OA_SECRET", "hunter2")
    first = problems(text)[0]
    assert first.message.endswith("names an environment variable, and those are not filled in here")
    assert "hunter2" not in repr(first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{NAMED}  requires_pasword: true\n", f"requires_pasword {UNKNOWN} (did you mean 'requires_password'?)"),
        (f"{NAMED}  mod: []\n", f"mod {UNKNOWN} (did you mean 'mods'?)"),
        (http("prot: 8800"), f"transports[0].config.prot {UNKNOWN} (did you mean 'port'?)"),
        (f"{NAMED}dve: {{}}\nlog_levle: x\n", f"log_levle {UNKNOWN} (did you mean 'log_level'?)"),
        (f"{NAMED}dev: {{limits: {{dran: 1}}}}\n", f"dev.limits.dran {UNKNOWN} (did you mean 'drain'?)"),
        (f"{NAMED}dev: {{colour: red}}\n", f"dev.colour {UNKNOWN} (None)"),
        (f"{NAMED}mods: []\n", "mods belongs under 'network:' (indent it)"),
        (f"{NAMED}  mode: central\n", "mode is one of centralized, decentralized (did you mean 'centralized'?)"),
        (
            f"{NAMED}  transports: [{{type: htpp}}]\n",
            "transports[0].type is one of a2a, grpc, http, libp2p, mcp, webrtc, websocket (did you mean 'http'?)",
        ),
        (f"{NAMED}  transports: [{{}}]\n", "transports[0].type is missing (None)"),
        (
            f"{NAMED}  agent_timeout: -1\n",
            "agent_timeout is a number of seconds above 0, at most 518400, not -1 (None)",
        ),
        (f"{NAMED}  max_connections: 0\n", "max_connections is a whole number from 1 to 1000000, not 0 (None)"),
        (f"{NAMED}  node_id: 5\n", "node_id is a text that is not empty, not 5 (put it in quotes)"),
        (f"{NAMED}metadata: []\n", "metadata is a mapping, not a list (None)"),
        (f"{NAMED}? [a]\n: 1\n", "a key is a text that is not empty (None)"),
        (f"{NAMED}'': 1\n", "a key is a text that is not empty (None)"),
        (f"{NAMED}metadata: {{<<: 5}}\n", "what << merges into metadata is a mapping or a list of mappings (None)"),
        (
            f"{NAMED}dev: {{grants: {{a: [mods:wirte]}}}}\n",
            "dev.grants.a[0] is one of open, join, self, read, mods:write, mods:ask, errors:read, admin "
            "(did you mean 'mods:write'?)",
        ),
        (
            f"{NAMED}dev: {{grants: {{a b: []}}}}\n",
            "'a b' is not an agent id: 1 to 64 out of letters, digits and _ . : - (None)",
        ),
        (f"{NAMED}dev: {{grants: {{a: read}}}}\n", "dev.grants.a is a list, not read (None)"),
        (f"{NAMED}dev: {{mod_paths: [5]}}\n", "dev.mod_paths[0] is a text that is not empty, not 5 (put it in quotes)"),
        (
            f"{NAMED}dev: {{limits: {{held_events: 1.5}}}}\n",
            "dev.limits.held_events is a whole number from 1 to 1000000, not 1.5 (None)",
        ),
        (f"{NAMED}dev: {{restart: auot}}\n", "dev.restart is one of ask, auto, never (did you mean 'auto'?)"),
        (
            f"{NAMED}dev: {{restart: {{drain: 0}}}}\n",
            "dev.restart.drain is a number of seconds above 0, at most 86400, not 0 (None)",
        ),
        (
            f"{NAMED}dev: {{limits: {{linger: .inf}}}}\n",
            "dev.limits.linger is a number of seconds above 0, at most 86400, not .inf (None)",
        ),
        (
            f"{NAMED}  requires_password: true\n  agent_groups: {{admin: {{description: x}}}}\n",
            "agent_groups.admin.password_hash is missing: requires_password is true (None)",
        ),
        (
            f"{NAMED}  mods:\n    - path: mods.echo\n",
            "mods[0].name is missing (write name for path)",
        ),
        (
            f"{NAMED}  agent_groups: {{guest: {{password_hash: x}}}}\n",
            "agent_groups.guest is the default group, which no agent could join without its password "
            "(write requires_password: true, or choose a default_agent_group without a password)",
        ),
    ],
)
def test_a_key_or_value_that_cannot_be_used_is_named_by_its_path(text: str, expected: str) -> None:
    """Misspelt keys, wrong words and numbers out of range say what is possible."""
    assert expected in [f"{each.message} ({each.hint})" for each in problems(text)]


def test_a_flood_of_problems_is_told_up_to_a_hundred() -> None:
    """The last one says how many more there are."""
    found = problems(mods("[" + "x, " * 1000 + "]"))
    assert (len(found), found[-1].message) == (101, "and 900 more problems")


def test_only_the_first_unknown_keys_are_compared_with_the_known_ones() -> None:
    """A flood of them costs no more than two hundred guesses; the rest counts as unused."""
    keys = "".join(f"  agent_timeouts{number}:\n" for number in range(300))
    assert [each.where and each.where.line for each in problems(NAMED + keys)] == [*range(3, 103), 103]
    assert problems(NAMED + keys)[-1].message == "and 100 more problems"
