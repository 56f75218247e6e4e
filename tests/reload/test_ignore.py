"""Which files are never sources, by which rule, and what a walk finds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from devserver.sources.ignore import Rules, Walk, is_environment, walk

TEMPORARY = "editor temporary file"


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("mods/echo/mod.py", None),
        ("mods/echo/prompt.txt", None),
        ("network.yaml", None),
        (".env", None),
        ("mods/git/mod.py", None),
        ("mods/environment/mod.py", None),
        ("mods/cache.py", None),
        ("mods/49130.py", None),
        ("mods/tilde~.py", None),
        ("mods/a#b.py", None),
        ("mods/swp.py", None),
        ("mods/node_modules.py", None),
        (".", None),
        (".git/index", "version control: .git"),
        (".git", "version control: .git"),
        ("mods/.hg/store", "version control: .hg"),
        (".jj/x", "version control: .jj"),
        ("mods/echo/__pycache__/mod.cpython-311.pyc", "cache: __pycache__"),
        (".mypy_cache/3.11/x.json", "cache: .mypy_cache"),
        (".pytest_cache/x", "cache: .pytest_cache"),
        (".hypothesis/examples/x", "cache: .hypothesis"),
        (".venv/lib/x.py", "virtual environment: .venv"),
        ("venv/bin/python", "virtual environment: venv"),
        ("ui/node_modules/left/index.js", "installed packages: node_modules"),
        (".oa-dev/run.json", "written by oa-dev: .oa-dev"),
        (".idea/workspace.xml", "editor settings: .idea"),
        ("x.egg-info/PKG-INFO", "package metadata: x.egg-info"),
        ("mods/old.pyc", "compiled Python"),
        ("mods/.mod.py.swp", TEMPORARY),
        ("mods/.mod.py.swo", TEMPORARY),
        ("mods/.mod.py.swx", TEMPORARY),
        ("mods/4913", TEMPORARY),
        ("mods/sedEB1aY6", TEMPORARY),
        ("mods/sedation.py", None),
        ("mods/5036", TEMPORARY),
        ("mods/mod.py~", TEMPORARY),
        ("mods/#mod.py#", TEMPORARY),
        ("mods/.#mod.py", TEMPORARY),
        ("mods/mod.py___jb_tmp___", TEMPORARY),
        ("mods/mod.py___jb_old___", TEMPORARY),
        ("mods/.mod.py.kate-swp", TEMPORARY),
        ("mods/.goutputstream-AB12CD", TEMPORARY),
        ("mods/.subl1a2b.tmp", TEMPORARY),
        ("mods/mod.py.tmp", TEMPORARY),
        ("mods/.nfs000123", "deleted while open"),
        ("mods/new\nline.py~", TEMPORARY),
    ],
)
def test_a_name_that_is_never_a_source_is_ignored_by_rule(path: str, rule: str | None, tmp_path: Path) -> None:
    """The rule is given in words, for absolute and relative paths alike, whether or not they exist."""
    rules = Rules(tmp_path)
    assert (rules.why_ignored(Path(path)), rules.why_ignored(tmp_path / path)) == (rule, rule)


@pytest.mark.parametrize("above", ["node_modules", ".git", "venv", ".cache"])
def test_where_the_workspace_lies_is_no_reason(above: str, tmp_path: Path) -> None:
    """Only the part of a path that lies in the workspace is looked at."""
    workspace = tmp_path / above / "work"
    assert Rules(workspace).why_ignored(workspace / "mods" / "echo.py") is None


def test_a_watched_folder_beside_the_workspace_has_the_same_names_ignored(tmp_path: Path) -> None:
    """`mod_paths` may lead out of the workspace; its `.gitignore` does not reach there."""
    rules = Rules(tmp_path / "work", "*.py\n")
    assert rules.why_ignored(tmp_path / "shared" / "board.py") is None
    assert rules.why_ignored(tmp_path / "shared" / "__pycache__" / "x.py") == "cache: __pycache__"


@pytest.mark.parametrize(
    ("patterns", "path", "rule"),
    [
        ("build/\n", "build/lib/mod.py", "build/"),
        ("build/\n", "mods/build/mod.py", "build/"),
        ("/build/\n", "mods/build/mod.py", None),
        ("build/\n", "mods/build", None),
        ("# build/\n\nbuild/\n", "build/x.py", "build/"),
        ("*.log\n!keep.log\n", "a.log", "*.log"),
        ("*.log\n!keep.log\n", "mods/keep.log", None),
        ("build/\n!build/keep.py\n", "build/keep.py", "build/"),
        ("data/*\n!data/keep.py\n", "data/keep.py", None),
        ("data/*\n!data/keep.py\n", "data/x/keep.py", "data/*"),
        ("a/**/z.py\n", "a/b/c/z.py", "a/**/z.py"),
        ("notes   \n", "notes", "notes"),
        ("!\n\\\n*.log\n", "a.log", "*.log"),
        ("*.log\r\n", "a.log", "*.log"),
        ("", "a.log", None),
    ],
)
def test_the_workspaces_gitignore_is_obeyed_as_git_does(
    patterns: str, path: str, rule: str | None, tmp_path: Path
) -> None:
    """The rule names the line; what lies in an ignored directory cannot be taken out again."""
    assert Rules(tmp_path, patterns).why_ignored(Path(path)) == (rule and f".gitignore: {rule}")


def test_a_pattern_for_directories_covers_the_directory_itself(tmp_path: Path) -> None:
    """The caller says that a path is a directory."""
    assert Rules(tmp_path, "build/\n").why_ignored(Path("build"), is_directory=True) == ".gitignore: build/"


def test_names_of_temporary_files_do_not_hide_directories(tmp_path: Path) -> None:
    """A directory called backup~ is a directory."""
    assert Rules(tmp_path).why_ignored(Path("backup~"), is_directory=True) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [({"pyvenv.cfg", "lib"}, True), ({"conda-meta"}, True), ({"lib", "bin"}, False), (set(), False)],
)
def test_an_environment_is_known_by_what_is_in_it(names: set[str], expected: bool) -> None:
    """Its name may be any."""
    assert is_environment(names) is expected


def make(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("", encoding="utf-8")


def seen(found: Walk, root: Path) -> tuple[str, str]:
    """Files and directories in words, relative to the root."""
    files = " ".join(str(path.relative_to(root)) for path in found.files)
    return files, " ".join(str(path.relative_to(root)) for path in found.directories)


def test_a_walk_finds_sources_and_their_directories_in_order(tmp_path: Path) -> None:
    """What a rule ignores is not entered."""
    make(tmp_path, "b.py", "a.txt", "mods/echo/mod.py", "mods/lib.py", ".git/config", "mods/__pycache__/lib.pyc")
    make(
        tmp_path, "node_modules/x/index.js", "build/x.py", "mods/lib.py~", "tools/env/pyvenv.cfg", "tools/env/lib/x.py"
    )
    assert seen(walk(tmp_path, Rules(tmp_path, "build/\n")), tmp_path) == (
        "a.txt b.py mods/lib.py mods/echo/mod.py",
        ". mods mods/echo tools",
    )


def test_an_empty_root_is_a_walk_of_one_directory(tmp_path: Path) -> None:
    """The root is the first directory."""
    assert walk(tmp_path, Rules(tmp_path)) == Walk(directories=(tmp_path,))


def test_a_root_that_is_not_there_is_an_empty_walk(tmp_path: Path) -> None:
    """Neither a missing directory nor a file is an error."""
    make(tmp_path, "file")
    assert walk(tmp_path / "gone", Rules(tmp_path)) == walk(tmp_path / "file", Rules(tmp_path)) == Walk()


def test_links_never_lead_in_circles_nor_out(tmp_path: Path) -> None:
    """Each directory is visited once under its own name, and nothing outside of the root at all."""
    root = tmp_path / "work"
    make(root, "mods/a.py")
    make(tmp_path, "secret/x.py")
    for link, target in [("self", "."), ("mods/up", ".."), ("all", "/"), ("out", "../secret"), ("alias", "mods")]:
        (root / link).symlink_to(target)
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "out.py").symlink_to("../secret/x.py")
    (root / "gone.py").symlink_to("nowhere.py")
    (root / "same.py").symlink_to("mods/a.py")
    assert seen(walk(root, Rules(root)), root) == ("same.py mods/a.py", ". mods")


def test_a_root_that_is_a_link_is_walked_under_its_own_name(tmp_path: Path) -> None:
    """The workspace may be reached through a link."""
    make(tmp_path, "real/mods/a.py")
    (tmp_path / "real/b.py").symlink_to("mods/a.py")
    (tmp_path / "link").symlink_to("real")
    root = tmp_path / "link"
    assert seen(walk(root, Rules(root)), root) == ("b.py mods/a.py", ". mods")


def test_what_is_no_regular_file_is_never_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FIFOs, sockets and devices are passed by, whatever their names."""
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    (tmp_path / "dir.py").mkdir()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.py")
        assert seen(walk(tmp_path, Rules(tmp_path)), tmp_path) == ("", ". dir.py")


def test_a_walk_ends_at_the_largest_number_of_directories(tmp_path: Path) -> None:
    """That there are more is said, and that there are exactly as many is no reason to say so."""
    make(tmp_path, *(f"d{number}/x.py" for number in range(9)))
    cut, whole = walk(tmp_path, Rules(tmp_path), 5), walk(tmp_path, Rules(tmp_path), 10)
    assert (len(cut.directories), cut.truncated) == (5, True)
    assert (len(whole.directories), whole.truncated, len(whole.files)) == (10, False, 9)


def test_a_large_ignored_tree_is_not_entered(tmp_path: Path) -> None:
    """However many directories there are below, they do not count."""
    make(tmp_path, *(f"node_modules/p{number}/x.js" for number in range(50)), "mods/a.py")
    assert not walk(tmp_path, Rules(tmp_path), 3).truncated


def test_a_directory_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is walked all the same."""
    make(tmp_path, "closed/x.py", "open/y.py")
    scan = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = walk(tmp_path, Rules(tmp_path))
    assert (found.unreadable, seen(found, tmp_path)) == ((tmp_path / "closed",), ("open/y.py", ". open"))
