"""The keys of network.yaml about what comes from outside and about hosts: read as written, and refused at line and
column."""

from __future__ import annotations

import pytest

from devserver.config.network_yaml import parse_network
from devserver.errors import ConfigError

HEAD = "network:\n  name: demo\n"


def test_the_version_of_a_mod_is_kept_as_it_is_written() -> None:
    """Any range that PEP 440 has; without one any version will do."""
    text = HEAD + "  mods:\n    - name: polls\n      version: '>=1.2,<2'\n    - name: wiki\n"
    assert [each.version for each in parse_network(text).mods] == [">=1.2,<2", ""]


def test_where_things_come_from_is_read() -> None:
    """Folders and addresses in their order, whether Python's own index comes last, catalogues, and the age."""
    text = HEAD + (
        "dev:\n  indexes: [mods-index, 'http://127.0.0.1:8080/simple/', 'https://mods.example/simple']\n"
        "  packages: none\n  catalogues: [mods-index/index.json]\n  cooldown: 12h\n"
    )
    found = parse_network(text)
    assert found.indexes == ("mods-index", "http://127.0.0.1:8080/simple/", "https://mods.example/simple")
    assert (found.packages, found.catalogues, found.cooldown) == ("none", ("mods-index/index.json",), 12 * 3600.0)


def test_without_these_keys_nothing_is_asked_but_the_default_index() -> None:
    """No folders, Python's own index, the catalogues of the folders, and three days."""
    found = parse_network(HEAD)
    assert (found.indexes, found.packages, found.catalogues, found.cooldown) == ((), "default", None, 3 * 86_400.0)


def test_where_a_mod_runs_and_where_the_engine_is_are_read() -> None:
    """Left out, a mod runs where the file is, the engine is started there, and nothing is taken over."""
    text = HEAD + "  mods:\n    - {name: mods.wiki, runs_on: gpu-1}\n    - {name: mods.echo}\n"
    found = parse_network(text + "dev:\n  hosts: {engine: 'tls://10.0.0.5:4222', take_over: true}\n")
    assert [each.runs_on for each in found.mods] == ["gpu-1", ""]
    assert (found.engine, found.take_over) == ("tls://10.0.0.5:4222", True)
    plain = parse_network(text)
    assert (plain.engine, plain.take_over) == ("here", False)


@pytest.mark.parametrize(
    ("lines", "place", "says"),
    [
        ("  mods:\n    - name: polls\n      version: latest\n", (5, 16), "'latest' is not a range of versions"),
        ("  mods:\n    - name: polls\n      version: 2\n", (5, 16), "'2' is not a range of versions"),
        ("dev:\n  indexes: ['http://mods.example/simple']\n", (4, 13), "https://"),
        ("dev:\n  indexes: ['ftp://mods.example']\n", (4, 13), "https://"),
        ("dev:\n  catalogues: ['http://user@127.0.0.1.example/x']\n", (4, 16), "https://"),
        ("dev:\n  packages: some\n", (4, 13), "default"),
        ("dev:\n  cooldown: 3 days\n", (4, 13), "12h, 3d or 2w"),
        ("dev:\n  cooldown: 3\n", (4, 13), "12h, 3d or 2w"),
        ("  mods:\n    - {name: polls, runs_on: GPU 1}\n", (4, 30), "'GPU 1' cannot name a host"),
        ("dev:\n  hosts: {engine: there}\n", (4, 19), "tls://10.0.0.5:4222"),
        ("dev:\n  hosts: {engine: 'tls://me:secret@10.0.0.5:4222'}\n", (4, 19), "holds no password"),
        ("dev:\n  hosts: {take_over: maybe}\n", (4, 22), "true or false"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(lines: str, place: tuple[int, int], says: str) -> None:
    """The sentence says what the value has to be, and never repeats a password."""
    with pytest.raises(ConfigError) as refused:
        parse_network(HEAD + lines)
    (problem,) = refused.value.problems
    assert (problem.where.line, problem.where.column) == place
    assert says in f"{problem.message} {problem.hint}"
    assert "secret" not in f"{problem.message} {problem.hint}"
