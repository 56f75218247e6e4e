"""Starts the replay process; a server does that, nobody else."""

from devserver.replay.child import main

main()
