"""Starts the replay process; only a server does that."""

import gc

# All that is imported stays: looking for garbage among it takes a tenth of the time to ready.
gc.disable()

from devserver.replay.child import main  # noqa: E402

gc.freeze()
main()
