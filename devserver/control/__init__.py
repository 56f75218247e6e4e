"""What people and commands ask a running server, and the page."""
