"""What is refused before a network.yaml is looked at for its keys: files, encodings, bombs and slips of YAML."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devserver.config import yaml_text
from devserver.config.network_yaml import parse_network, read_network
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


ROOT = "1:1 expected a mapping that begins with 'network:', found"
ESCAPES = "in double quotes a \\ begins an escape; single quotes take it literally"


def test_a_problem_shows_the_line_and_its_neighbours() -> None:
    """The frame holds file, line, columns and three lines, as an editor shows them."""
    where = problems("network:\n  name: demo\n  port: 'x'\n  mods: []\n")[0].where
    assert where is not None
    assert (where.file, where.line, where.column, where.end_column) == ("network.yaml", 3, 9, 12)
    assert where.excerpt == ((2, "  name: demo"), (3, "  port: 'x'"), (4, "  mods: []"))


def test_an_excerpt_tells_no_secret_and_no_endless_line() -> None:
    """Values of passwords and tokens are left out, and long lines are cut."""
    text = f"network:\n  password_hash: s3cret\n  name: 5\n  description: {'x' * 1000}\n"
    where = problems(text)[-1].where
    assert where is not None
    assert [line for _, line in where.excerpt[:2]] == ["  password_hash: …", "  name: 5"]
    assert len(where.excerpt[2][1]) == 201


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"{ROOT} an empty file (None)"),
        ("# nothing\n", f"{ROOT} none (None)"),
        ("just text", f"{ROOT} none (None)"),
        ("[network, x]", f"{ROOT} none (None)"),
        ("- network: x", f"{ROOT} none (None)"),
        ("other: 1", f"{ROOT} none (None)"),
        ("x: 1\nnetwrok: {}", "2:1 the key 'network' is missing (did you mean 'network'?)"),
        ("x:\n  network: {}\n", "1:1 network is missing (None)"),
        ("network:\n", "1:9 network is a mapping, not null (indent what belongs to it)"),
        ("network: []", "1:10 network is a mapping, not a list (None)"),
        ("network: x", "1:10 network is a mapping, not x (None)"),
        ("network: {}", "1:10 name is missing (None)"),
        (
            NAMED + "---\na: 1\n",
            "3:1 a second document begins here (a network.yaml is one document: remove the '---')",
        ),
        (
            NAMED + "  mods:\n    - name: mods.a\n    config: {}\n",
            "5:5 did not find expected '-' indicator"
            " (indent the keys of an entry as deep as its first one; the next entry begins with '-')",
        ),
        ("[\n  'network': 1\n]", "1:1 expected a mapping that begins with 'network:', found a list (None)"),
    ],
)
def test_what_is_no_mapping_with_a_network_is_told_what_was_expected(text: str, expected: str) -> None:
    """Lists, single values, empty files and second documents are refused."""
    assert expected == told(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: " + "[" * 100_000, "3:53 nested more than 50 levels deep (None)"),
        ("x: " + "{a: " * 50_000, "3:200 nested more than 50 levels deep (None)"),
        ("x: " + "- " * 10, "3:4 block sequence entries are not allowed in this context (None)"),
        ("? " * 100 + "x", "3:101 nested more than 50 levels deep (None)"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{k}: &{k} [{','.join([f'*{chr(ord(k) - 1)}'] * 9)}]\n" for k in "bcdefghij"),
            "7:26 more than 50,000 values, counting what the aliases stand for (None)",
        ),
        (
            "a: &a {k: 1}\n"
            + "".join(f"{k}: &{k} {{<<: [{','.join([f'*{chr(ord(k) - 1)}'] * 9)}]}}\n" for k in "bcdefgh"),
            "8:19 more than 50,000 values, counting what the aliases stand for (None)",
        ),
        ("a: &a [1]\nb: [" + "*a," * 101 + "]", "4:305 more than 100 aliases (None)"),
        ("a: [" + "1," * 60_000 + "]", "3:100003 more than 50,000 values, counting what the aliases stand for (None)"),
        (
            "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 20 + "*a" + "]" * 20,
            "4:24 nested more than 50 levels deep (None)",
        ),
        ("a: &a [*a]", "3:8 the alias *a contains itself (None)"),
        ("a: &a {b: &b {c: *a}}", "3:18 the alias *a contains itself (None)"),
        ("a: *gone", "3:4 there is no &gone above for the alias *gone (None)"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bombs_are_refused_at_the_first_place_that_is_too_much(text: str, expected: str) -> None:
    """Nesting, aliases that multiply, merges that multiply and aliases of themselves cost nothing."""
    assert expected == told(NAMED + text)


@pytest.mark.parametrize("size", [yaml_text.MAX_BYTES + 1, 10_000_000])
def test_a_text_above_the_cap_is_not_parsed(size: int) -> None:
    """The size is looked at before anything else."""
    expected = f"1:1 the file has {size:,} bytes, more than the 262,144 that are read (None)"
    assert expected == told((NAMED + "#").ljust(size, "x"))


def test_a_text_of_just_the_cap_is_read() -> None:
    """The cap is the largest size that is read."""
    assert parse_network((NAMED + "#").ljust(yaml_text.MAX_BYTES, "x")).name == "demo"


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {sentinel}']",
        "!!python/name:os.system",
        "!!str x",
        "!local {{a: 1}}",
        "! x",
        "!!binary aGk=",
        "!!set {{a}}",
    ],
)
def test_no_tag_is_ever_followed(value: str, tmp_path: Path) -> None:
    """Tags of every kind are refused, and nothing runs."""
    sentinel = tmp_path / "ran"
    assert told(f"{NAMED}x: {value.format(sentinel=sentinel)}\n").startswith("3:4 tags (!name) are not used here")
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"network:\n  name: \0\n", "2:9 byte 17 is a NUL, which a text file does not hold (None)"),
        (
            "network:\n  name: é\x07\n".encode(),
            "2:10 byte 19 is the control character U+0007, which a text file does not hold (None)",
        ),
        (b"\xef\xbb\xbfnetwork:\n  name: \0", "2:9 byte 20 is a NUL, which a text file does not hold (None)"),
        (NAMED.encode() + b"# \xff", "3:3 byte 24 is 0xff, which is not UTF-8 there (save it as UTF-8)"),
        (NAMED.encode() + b"# \xc3", "3:3 byte 24 is 0xc3, which is not UTF-8 there (save it as UTF-8)"),
        (NAMED + "# \ud800", "3:3 byte 24 is 0xed, which is not UTF-8 there (save it as UTF-8)"),
        (
            NAMED.encode("latin-1") + "# é".encode("latin-1"),
            "3:3 byte 24 is 0xe9, which is not UTF-8 there (save it as UTF-8)",
        ),
        (
            NAMED.encode("utf-16"),
            "1:1 the file is UTF-16 (byte 0 begins a UTF-16 byte order mark) (save it as UTF-8)",
        ),
        (NAMED.encode("utf-16-le"), "1:2 byte 1 is a NUL, which a text file does not hold (None)"),
    ],
)
def test_what_is_no_utf_8_text_is_told_by_byte_offset_and_not_quoted(text: bytes | str, expected: str) -> None:
    """The place is the line, the column and the byte."""
    assert expected == told(text)
    assert problems(text)[0].where.excerpt == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_half_a_surrogate_pair_is_refused_by_byte_offset(loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of PyYAML's parsers lead to a refusal that names the byte."""
    monkeypatch.setattr(yaml_text, "_LOADER", loader)
    found = told('\ufeffnetwork:\n  name: é\n  node_id: "\\ud800"\n')
    assert (found.startswith("3:1"), found.endswith(f"{ESCAPES})")) == (True, True)
    assert 34 <= int(found.partition("(byte ")[2].partition(")")[0]) <= 40


@pytest.mark.parametrize(
    "text",
    [
        "network:\n\tname: demo\n",
        "network:\n  name: demo\n\tport: 1\n",
        "network:\n  name: demo\n  mods:\n  - name: a\n\t  enabled: true\n",
        "\tnetwork:\n",
    ],
)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_a_tab_that_indents_is_named(text: str, loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message speaks of the tab and of spaces."""
    monkeypatch.setattr(yaml_text, "_LOADER", loader)
    line = next(number for number, each in enumerate(text.split("\n"), 1) if each.startswith("\t"))
    assert f"{line}:1 a tab indents this line (YAML is indented with spaces: replace the tab)" == told(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  port: a: b\n", "put text that contains ': ' in quotes, and begin each key on its own line"),
        ("  port:8800\n  x: 1\n", "a key needs a ':' and a space behind it"),
        ("  x: @y\n", "put text that begins with @, ` or % in quotes"),
        ("   x: 1\n", "put text that contains ': ' in quotes, and begin each key on its own line"),
        ('  x: "\\q"\n', ESCAPES),
    ],
)
def test_a_slip_of_the_hand_comes_with_a_hint(text: str, expected: str) -> None:
    """The commonest errors of YAML say what to do."""
    assert expected == problems(NAMED + text)[0].hint


@pytest.mark.parametrize(
    "twice",
    ["x: 1\nx: 2\n", 'x: 1\n"x": 2\n', "m: {a: {b: 1, b: 2}}\n", "l: [{b: 1, b: 2}]\n", "u: &u {b: 1, b: 2}\nv: *u\n"],
)
def test_a_key_that_stands_twice_is_told_once_with_both_lines(twice: str) -> None:
    """Duplicates are found also where nothing is read."""
    found = problems(NAMED + twice)
    assert (len(found), "stands twice in one mapping: lines " in found[0].message) == (1, True)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Path.mkdir, "expected a regular file, found a directory"),
        (_fifo, "expected a regular file, found a FIFO"),
        (lambda path: path.symlink_to("/dev/zero"), "expected a regular file, found a device or socket"),
        (_sparse, "the file has 10,737,418,240 bytes, more than the 262,144 that are read"),
        (lambda path: None, "the file cannot be read: No such file or directory"),
        (lambda path: path.symlink_to(path), "the file cannot be read: Too many levels of symbolic links"),
    ],
    ids=["directory", "FIFO", "device", "sparse", "missing", "loop"],
)
def test_only_a_regular_file_of_bounded_size_is_read(make: object, expected: str, tmp_path: Path) -> None:
    """Anything else is refused without waiting for it or reading it."""
    path = tmp_path / "network.yaml"
    make(path)  # type: ignore[operator]
    with pytest.raises(ConfigError) as caught:
        read_network(path)
    assert [expected] == [each.message for each in caught.value.problems]


@pytest.mark.parametrize(
    "content",
    [
        "root:$6$salt$hash:19000:0:99999:7:::\nnetwork:x:1:1::/:/bin/sh\n",
        "token: hunter2\nnetwrok: hunter2\n",
        "hunter2: *hunter2\n",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n",
        "!hunter2 x",
        "{hunter2: [",
        "hunter2\0",
    ],
)
def test_a_file_that_is_no_network_yaml_is_never_quoted(content: str, tmp_path: Path) -> None:
    """A link to someone's secrets tells nothing of them."""
    (tmp_path / "shadow").write_text(content, encoding="utf-8")
    (tmp_path / "network.yaml").symlink_to(tmp_path / "shadow")
    with pytest.raises(ConfigError) as caught:
        read_network(tmp_path / "network.yaml")
    said = repr(caught.value.problems) + str(caught.value)
    assert (len(caught.value.problems), "hunter2" in said, "$6$" in said) == (1, False, False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    """The message is that of the system."""
    path = tmp_path / "network.yaml"
    path.write_text(NAMED, encoding="utf-8")
    path.chmod(stat.S_IWUSR)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        read_network(path)


SCRAPS = [*"{}[]|\t\n\"'", "network:", "name: x", "mods:", "- ", "  ", "&a ", "*a", ": ", "!t ", "<<: ", "é"]


@given(
    st.sampled_from(["", NAMED, f"{NAMED}  mods: ", f"{NAMED}x: "]),
    st.one_of(st.text(max_size=50), st.lists(st.sampled_from(SCRAPS), max_size=40).map("".join)),
)
def test_whatever_the_text_the_answer_is_a_network_or_its_problems(before: str, scraps: str) -> None:
    """No text leads to any other exception, and each problem has a place."""
    try:
        assert parse_network(before + scraps).name
    except ConfigError as error:
        assert error.problems
        assert all(each.where is not None and each.where.line >= 1 for each in error.problems)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_the_answer_is_a_network_or_its_problems(data: bytes) -> None:
    """Bytes that are no text are problems like others."""
    with pytest.raises(ConfigError):
        parse_network(NAMED.encode() + b"- " + data)
