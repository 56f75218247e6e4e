"""The stream that changes code: watch, graph, plan, loader, apply. Never imports `devserver.network`."""
