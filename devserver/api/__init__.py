"""The network over HTTP and WebSocket: who may ask (gate, guard), the wire of OpenAgents, push, the control API."""
