"""A glossary for a network of agents."""
