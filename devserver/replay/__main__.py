"""Starts the replay process; only a server does that."""

from devserver.replay.child import main

main()
