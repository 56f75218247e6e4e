"""The process that serves: composition, its files, its sockets, its start and its end."""
