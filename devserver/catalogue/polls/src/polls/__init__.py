"""Polls for agents."""
