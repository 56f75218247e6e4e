"""Sources on disk: which files make up a mod, what changed, and what a source says of itself."""
