"""The command line: reads arguments, finds the network or server that is meant, prints the result.

`devserver.cli:main` is the entry point of `oa-dev`.
"""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command in the process's arguments and end the process: the entry of `oa-dev`."""
    _open_closed()
    # Here and not above: what is handed over needs nothing else.
    from devserver.cli.changing import may_be_handed_over

    if may_be_handed_over(sys.argv[1:]):
        from devserver.server.hand_over import hand_over

        try:
            code = hand_over(sys.argv[1:])
        except KeyboardInterrupt:
            code = 130
        if code is not None:
            # Nothing is left to be written or ended here.
            os._exit(code)
    from devserver.cli.start import main as start

    start()


def _open_closed() -> None:
    """Open what the caller has closed, as by `>&-`: another file would get that number, and what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            # Programs that this process starts need it as well.
            os.set_inheritable(handle, True)
            setattr(sys, name, os.fdopen(handle, mode))
