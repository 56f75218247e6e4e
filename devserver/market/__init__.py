"""What mods need from outside: other mods, in which versions. Later also what is fetched and installed for them."""
