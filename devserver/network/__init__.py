"""The stream that carries events: route, agents, dispatch. Never imports `devserver.reload`."""
