"""Other servers and other processes where a server wants to be: in its folder, at its port, with its pid."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest
from live import OA_DEV, Agent, Site, serving, start
from nursery import run

from devserver.server.runfile import write_run_file

HELLO = '@mod_event_handler("work.hello.get")\nasync def hello(self, event):\n    return {"version": 1}'


def oa_dev(site: Site, *arguments: str) -> int:
    """The exit code of a command."""
    done = run([OA_DEV, *arguments], cwd=site.folder, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    return done.returncode


def test_of_two_servers_in_one_folder_the_first_has_its_files(site: Site) -> None:
    """The second takes another port, says what it goes without, and leaves nothing of its own behind."""
    site.mod("work", HELLO)
    with serving(site) as first:
        ana, run_file = first.join("ana"), site.folder / ".oa-dev" / "run.json"
        before = run_file.read_bytes()
        second = start(site, "--port", str(first.port))
        second.line("ready")
        (said,) = [each["message"] for each in second.told("notice") if "another oa-dev" in each["message"]]
        assert f"pid {first.process.pid}" in said and f":{first.port})" in said
        assert second.port != first.port
        assert second.join("bea").send("work.hello.get")["data"] == {"version": 1}
        assert (second.stop(), run_file.read_bytes()) == (0, before)
        assert oa_dev(site, "status") == 0
    with serving(site) as third:
        assert Agent(third, "ana", ana.secret).send("work.hello.get")["success"] is True
        assert [each["agent_id"] for each in third.control("status")["agents"]] == ["ana"]


def test_a_run_file_whose_pid_is_another_process_by_now_names_no_server(site: Site) -> None:
    """Known by the time at which that process was started: commands say that nothing runs, and a start is a start."""
    site.mod("work", HELLO)
    site.yaml()
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            url = "http://127.0.0.1:9"
            path = write_run_file(site.folder, url, "token-of-before", other.pid)
            kept = json.loads(path.read_text())
            path.write_text(json.dumps({**kept, "started": str(int(kept["started"]) - 1)}))
            for command in (["status"], ["reload"], ["send", "work.hello.get"], ["stop"]):
                assert oa_dev(site, *command) == 1
            with serving(site) as live:
                assert oa_dev(site, "status") == 0
                assert json.loads(path.read_text())["pid"] == live.process.pid
            assert other.poll() is None
        finally:
            other.kill()


def test_a_port_that_is_taken_on_one_address_is_taken_there_alone(site: Site) -> None:
    """The next one is used, and said; where it has to be that port the code is 4. The other address is free."""
    site.mod("work", HELLO)
    site.yaml()
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as taken:
        try:
            taken.bind(("::1", 0))
            taken.listen()
        except OSError:
            pytest.skip("this machine has no IPv6")
        port = str(taken.getsockname()[1])
        assert oa_dev(site, "run", "--host", "::1", "--port", port, "--strict-port", "--no-keys") == 4
        live = start(site, "--host", "::1", "--port", port)
        live.line("ready")
        assert [each for each in live.told("notice") if f"port {port} is in use" in each["message"]]
        assert live.stop() == 0
        free = start(site, "--host", "127.0.0.1", "--port", port, "--strict-port")
        assert free.line("ready")["url"] == f"http://127.0.0.1:{port}"
        assert free.stop() == 0
