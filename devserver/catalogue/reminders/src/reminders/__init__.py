"""Reminders for agents."""
