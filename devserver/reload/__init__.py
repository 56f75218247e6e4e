"""The stream that changes code: situation, plan, engine, apply. Imports no `network`."""
