"""Channels, direct messages, threads of replies and reactions, with the event names of OpenAgents' messaging mod."""
