"""What people write: network.yaml and settings, read with each value's place. Runs nothing."""
