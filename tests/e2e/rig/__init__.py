"""What the end-to-end tests share: a workspace on disk, a real server process, real agents, and their ledger."""
