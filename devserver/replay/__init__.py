"""Events run again: their effects are observed, compared, kept, and made into tests. In a process
of its own."""
