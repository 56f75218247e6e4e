"""How agents come in. Knows ports of the network, never the network itself."""
