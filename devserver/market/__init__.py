"""Everything from outside that mods need: other mods and packages, in which versions, found,
reviewed and installed."""
