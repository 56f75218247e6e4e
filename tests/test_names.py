"""Names have one rule each: paths and ids of mods, and what is loopback."""

from __future__ import annotations

import pytest

from devserver.model.names import is_loopback, mod_id_of, mod_name_problem, module_of


@pytest.mark.parametrize(
    ("path", "module", "mod_id"),
    [
        ("mods.wiki", "mods.wiki", "wiki"),
        ("./wiki", "mods.wiki", "wiki"),
        ("openagents.mods.workspace.default", "openagents.mods.workspace.default", "default"),
        ("wiki", "wiki", "wiki"),
    ],
)
def test_two_spellings_of_a_path_are_one_mod(path: str, module: str, mod_id: str) -> None:
    """`./name` is the module `mods.name`; the id is the last part of either."""
    assert (module_of(path), mod_id_of(path)) == (module, mod_id)


@pytest.mark.parametrize("path", ["", ".", "./", "./a.b", "../a", "a..b", "a/b", "ä", "a b", "1a", "a.class", "__x__"])
def test_what_cannot_name_a_mod_is_told_with_its_reason(path: str) -> None:
    """Nothing else than a dotted name, or one part after `./`."""
    assert mod_name_problem(path)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("::ffff:127.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, is_ours: bool) -> None:
    """A name that merely looks like a loopback address is none."""
    assert is_loopback(host) is is_ours
