"""The OpenAgents wire over HTTP, and push over WebSocket, behind one gate."""
