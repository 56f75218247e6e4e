"""Runs a recorded session again, without a server: what `oa-dev replay FILE` does, also in CI."""

from __future__ import annotations


def replay(file: str, *, at: int | None, as_json: bool) -> int:
    """Run a session."""
    raise NotImplementedError
