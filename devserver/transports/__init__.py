"""The entrances of agents. Know ports of the network, never the network itself."""
