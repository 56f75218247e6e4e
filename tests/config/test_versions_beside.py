"""Versions beside a mod in network.yaml: what they ask for, and what is refused at its line."""

from __future__ import annotations

from textwrap import dedent

import pytest

from devserver.config.network_yaml import parse_network
from devserver.config.schema import network_schema
from devserver.errors import ConfigError
from devserver.model.split import Guard, Line, Rule, StateMode

HEAD = """
network:
  name: Test
  mods:
    - name: mods.wiki
      config: {pages: 5}
      versions:
"""


def text_of(versions: str) -> str:
    """A network.yaml with these versions of one mod."""
    return HEAD + "".join(f"        {line}\n" for line in dedent(versions).strip().splitlines())


def problems(versions: str) -> list[str]:
    """What is refused, each with its line and column (the first line of the versions is 8)."""
    with pytest.raises(ConfigError) as caught:
        parse_network(text_of(versions))
    return [f"{each.where.line}:{each.where.column} {each.message}" for each in caught.value.problems]


def test_a_version_has_all_that_is_written() -> None:
    """Every key of a version comes out as what it asks for."""
    config = parse_network(
        text_of(
            """
            - label: "2"
              name: mods.wiki_next
              share: 10%
              agents: [ana]
              groups: [reviewers]
              when: {beta: true}
              state: copy
              guard: {errors: 1%, of: 50}
              compare: {ignore: [data.etag]}
              config: {pages: 9}
            - label: next
              shadow: true
            """
        )
    )
    (mod,) = config.mods
    second, shadow = mod.versions
    assert [each.path for each in config.specs] == ["mods.wiki", "mods.wiki@2", "mods.wiki@next"]
    assert (second.config, second.line) == ({"pages": 9}, 8)
    assert second.beside == Line(
        label="2",
        rule=Rule(share=0.1, agents=("ana",), groups=("reviewers",), when={"beta": True}),
        state=StateMode.COPY,
        guard=Guard(0.01, 50),
        code="mods.wiki_next",
        ignore=("data.etag",),
    )
    assert shadow.beside == Line(label="next", rule=Rule(shadow=True), state=StateMode.COPY)
    assert shadow.config == {"pages": 5}


def test_the_label_of_another_path_is_the_end_of_its_name() -> None:
    """`mods.messaging_v2` beside `mods.messaging_v1` is the version v2."""
    config = parse_network(text_of("- name: mods.wiki_v2\n- name: mods.other\n- label: 3\n  name: mods.third"))
    assert [each.path for each in config.mods[0].versions] == ["mods.wiki@v2", "mods.wiki@other", "mods.wiki@3"]


def test_a_version_from_an_index_is_labelled_by_its_major_version() -> None:
    """Its code has the name of the line, and network.yaml says which versions will do."""
    [line] = parse_network(text_of("- version: ~=2.1\n  share: 10%")).mods[0].versions
    assert (line.path, line.version) == ("mods.wiki@2", "~=2.1")
    assert line.beside is not None and (line.beside.code, line.beside.versions) == ("mods.wiki@2", "~=2.1")


def test_a_mod_that_is_not_enabled_has_no_versions_that_are() -> None:
    """Its versions run beside it, or not at all."""
    text = text_of("- label: next").replace("config: {pages: 5}", "enabled: false")
    assert parse_network(text).enabled_specs == ()


@pytest.mark.parametrize(
    ("versions", "refused"),
    [
        ("- share: 10%", "8:11 mods[0].versions[0].label is missing"),
        ("- label: main", "8:18 mods[0].versions[0].label: 'main' cannot label a version"),
        ("- label: Two", "8:18 mods[0].versions[0].label: 'Two' cannot label a version"),
        ("- label: a\n- label: a", "9:11 the version a of mods.wiki is listed twice: lines 8 and 9"),
        (
            "- label: a\n  share: 10",
            "9:18 mods[0].versions[0].share is a percentage from 0% to 100%, as in 10%, not 10",
        ),
        ("- label: a\n  share: 70%\n- label: b\n  share: 40%", "8:9 the shares of mods[0].versions add up to 110 %"),
        ("- version: two", "8:20 'two' is not a range of versions"),
        ("- name: other\n  version: ~=2.0", "9:11 mods[0].versions[0] names another mod and a version of this one"),
        ("- label: a\n  shar: 10%", "9:11 mods[0].versions[0].shar is not a known key"),
        ("- name: mods.wiki", "8:17 mods[0].versions[0].name is the mod itself"),
        ("- label: a\n  state: shard", "9:18 mods[0].versions[0].state is one of copy, empty, shared"),
        ("- label: a\n  shadow: true\n  share: 5%", "10:11 mods[0].versions[0].share says who gets a shadow"),
        ("- label: a\n  shadow: true\n  state: shared", "10:18 mods[0].versions[0].state of a shadow is copy"),
        ("- label: a\n  guard: {errors: 5}", "9:27 mods[0].versions[0].guard.errors is a percentage"),
        ("- label: a\n- label: b", "9:11 mods[0].versions[1] runs the file on disk, as mods[0].versions[0] does"),
        ("- next", "8:11 mods[0].versions[0] is a mapping"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(versions: str, refused: str) -> None:
    """Each refusal has the line and column of what is wrong."""
    found = problems(versions)
    assert any(each.startswith(refused) for each in found), found


def test_shares_of_all_agents_are_enough() -> None:
    """Exactly 100 percent is no more than all."""
    assert parse_network(text_of("- {label: a, share: 70%}\n- {name: b, share: 30%}")).specs


def test_a_version_is_not_that_of_the_mod() -> None:
    """The same range beside itself would be one code twice."""
    with pytest.raises(ConfigError, match=r"versions\[0\].version is that of the mod itself at network.yaml:8"):
        parse_network(text_of("").replace("config: {pages: 5}", "version: ~=1.0") + "        - version: ~=1.0\n")


def test_a_mod_of_another_host_has_no_versions() -> None:
    """They run where network.yaml is: told at the line of the key."""
    with pytest.raises(ConfigError, match=r"versions run where network.yaml is, and the mod on gpu at network.yaml:7"):
        parse_network(text_of("- label: next").replace("config: {pages: 5}", "runs_on: gpu"))


def test_the_schema_knows_versions() -> None:
    """Editors complete the keys of a version."""
    mods = network_schema()["properties"]["network"]["properties"]["mods"]
    version = mods["items"]["properties"]["versions"]["items"]
    assert {"label", "name", "share", "agents", "groups", "when", "shadow", "state", "guard", "config"} <= set(
        version["properties"]
    )
    assert version["additionalProperties"] is False
    assert version["properties"]["share"]["type"] == "string"
