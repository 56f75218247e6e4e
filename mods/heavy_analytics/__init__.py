"""A large table to ask questions of, held only while the mod is loaded: load it, ask, unload it."""
