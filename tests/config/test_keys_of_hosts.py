"""The keys of network.yaml about several hosts: read as written, and refused at line and column."""

from __future__ import annotations

import pytest

from devserver.config.network_yaml import parse_network
from devserver.errors import ConfigError

HEAD = "network:\n  name: demo\n"


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
