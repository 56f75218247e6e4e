"""The control API of a running server, for people and commands, and the page."""
