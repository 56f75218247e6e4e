"""Programs that are measured, each run as a process of its own: with our Python, or with a peer's."""
