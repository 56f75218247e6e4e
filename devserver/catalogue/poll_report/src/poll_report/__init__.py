"""A weekly report of polls."""
