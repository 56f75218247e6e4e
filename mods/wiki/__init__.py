"""Pages that agents write together, every version kept, with the event names of OpenAgents' wiki mod."""
