"""The command line: `oa-dev`. Its commands are in `app`, what they do in `commands`."""

from __future__ import annotations

from devserver.cli.app import main

__all__ = ["main"]
