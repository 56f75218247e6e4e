"""The record of refusals stays small, however many refusals there are."""

from __future__ import annotations

import pytest

from devserver.network.audit import Audit


def test_a_flood_of_names_is_a_hundred_lines_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """Each claims another name; the rest is counted, and told with the next line."""
    now = [0.0]
    audit = Audit(lambda: now[0])
    for number in range(1000):
        audit.refused(f"name{number}" * 100, "register", "agent_id_taken")
    assert len(caplog.records) == 100 and audit.unwritten == 900
    now[0] = 1.0
    audit.refused("ana", "poll", "not_proven")
    assert "(900 more before)" in caplog.records[-1].getMessage()
