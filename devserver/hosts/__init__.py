"""Networks of several hosts: one engine, a NATS server, between processes of `oa-dev`. Imported by `--hosts` alone."""
