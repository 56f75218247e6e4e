"""What people write: network.yaml and settings, read with the place of every value. Runs nothing."""
