"""Events run again: what they did is observed, compared, kept, and made into tests. In a process of its own."""
