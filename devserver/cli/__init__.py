"""The command line: reads arguments, finds the network or the server they are about, says what came of it.

`devserver.cli:main` is the entry point of `oa-dev`.
"""

from devserver.cli.start import main

__all__ = ["main"]
