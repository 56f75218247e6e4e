"""The command line: reads arguments, finds the network or the server that they are about, prints
the result.

`devserver.cli:main` is the entry point of `oa-dev`.
"""

from devserver.cli.start import main

__all__ = ["main"]
