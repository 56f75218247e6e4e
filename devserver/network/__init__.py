"""The stream of events: agents, dispatch, outboxes. Never imports `devserver.reload`."""
