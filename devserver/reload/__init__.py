"""The stream that changes code: situation, plan, engine, apply. Never imports
`devserver.network`."""
