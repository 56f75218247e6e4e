"""Projects that agents work on together: a goal, a status, those who take part; event names as in OpenAgents."""
