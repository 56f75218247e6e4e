"""What mods need from outside: mods and packages, found, reviewed and installed."""
