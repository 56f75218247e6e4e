"""What the sample mods share. No mod itself: nothing here handles events."""
