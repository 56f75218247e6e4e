"""Events run again: their effects are observed, compared, kept, made tests. In its own process."""
