"""Catalogues come from folders, from addresses and from the package itself; addresses are asked within limits."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from wheels import wheel, wheel_file

from devserver.market import places
from devserver.market.catalogue import BUILT_IN, BadCatalogue
from devserver.market.places import Ask, catalogues_of, fetched, shown
from devserver.model.config import NetworkConfig

GOOD = json.dumps({"format": 1, "name": "team", "mods": {"polls": {}}}).encode()


@dataclass
class Index:
    """A server on this machine that answers with what it is told to."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)


@pytest.fixture
def index() -> Iterator[Index]:
    """An index that runs."""
    told = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            status, body, headers = told.answers.get(self.path, (404, b"", {}))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config(**values: object) -> NetworkConfig:
    """A network with settings of the market."""
    return NetworkConfig("team", **values)  # type: ignore[arg-type]


def test_folders_come_first_and_what_is_built_in_last(tmp_path):
    """A simple index has no list; a folder need not have one."""
    (tmp_path / "mods-index").mkdir()
    (tmp_path / "mods-index" / wheel_file("extras", "1.0")).write_bytes(wheel())
    found = catalogues_of(config(indexes=("mods-index", "https://example.org/simple/")), tmp_path, Ask.KEPT)
    assert [each.name for each in found.catalogues] == ["mods-index", BUILT_IN]
    assert list(found.catalogues[0].entries) == ["extras"]
    assert [each.name for each in catalogues_of(None, tmp_path, Ask.KEPT).catalogues] == [BUILT_IN]


def test_a_list_of_catalogues_takes_the_place_of_all_others(tmp_path):
    """What cannot be read is said, and the others count."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/index.json").write_bytes(GOOD)
    listed = ("lists/index.json", "gone/index.json", "nowhere")
    found = catalogues_of(config(catalogues=listed), tmp_path, Ask.KEPT)
    assert [each.name for each in found.catalogues] == ["lists"]
    assert found.problems == ("there is no gone/index.json", "there is no folder nowhere")


def test_an_address_is_asked_by_commands_alone_and_its_answer_kept(index, tmp_path):
    """A server takes what was kept; offline a command does too, and says how old it is."""
    url = f"{index.url}/index.json"
    listed = config(catalogues=(url,))
    assert catalogues_of(listed, tmp_path, Ask.KEPT).problems == (f"{url} was never fetched: oa-dev search fetches it",)
    assert index.asked == []

    index.answers["/index.json"] = (200, GOOD, {})
    assert [each.age for each in catalogues_of(listed, tmp_path, Ask.FETCH).catalogues] == [0.0]
    index.answers.clear()
    for ask in (Ask.KEPT, Ask.FETCH):
        found = catalogues_of(listed, tmp_path, ask)
        assert list(found.catalogues[0].entries) == ["polls"]
        assert found.catalogues[0].age is not None
    assert (tmp_path / "cache/oa-dev/catalogues").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((200, b"<html>", {}), "it is HTML"),
        ((500, b"", {}), "answers 500"),
        ((200, b" " * (3 << 20), {}), "has more than 2 MiB"),
        ((302, b"", {"Location": "http://example.org/index.json"}), "is not fetched: an address begins with https://"),
        ((302, b"", {"Location": "file:///etc/passwd"}), "answers 302"),
    ],
)
def test_what_is_no_catalogue_is_said_and_not_kept(index, tmp_path, answer, sentence):
    """HTML, errors, too much, and ways that lead where nothing is asked."""
    index.answers["/index.json"] = answer
    found = catalogues_of(config(catalogues=(f"{index.url}/index.json",)), tmp_path, Ask.FETCH)
    assert found.catalogues == ()
    assert sentence in found.problems[0]
    assert not (tmp_path / "cache").exists()


def test_an_index_that_hangs_is_left_alone_in_time():
    """It has accepted, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/index.json"
        with pytest.raises(BadCatalogue, match=r"did not answer within 0\.2 s"):
            fetched(url, patience=0.2)


def test_nothing_is_asked_in_clear_text_on_other_machines():
    """What can be changed on its way decides what runs."""
    with pytest.raises(BadCatalogue, match="begins with https://"):
        fetched("http://example.org/index.json")


def test_what_lets_a_user_in_is_never_shown(index, tmp_path):
    """Neither in names nor in problems."""
    url = f"{index.url.replace('//', '//ana:secret@')}/index.json?token=hidden"
    problems = catalogues_of(config(catalogues=(url,)), tmp_path, Ask.FETCH).problems
    assert "secret" not in problems[0] and "hidden" not in problems[0]
    assert shown("https://ana:pw@example.org/x?y=z") == "https://example.org/x"


def test_an_index_of_this_machine_is_asked_past_any_proxy(index, tmp_path, monkeypatch):
    """A proxy would learn of it, and could answer in its place."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    index.answers["/index.json"] = (200, GOOD, {})
    assert fetched(f"{index.url}/index.json") == GOOD
    assert places.PATIENCE <= 10
