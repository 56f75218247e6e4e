"""Counts what goes through the network, by event name and by agent, and how fast."""
