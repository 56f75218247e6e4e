"""`python -m devserver` is `oa-dev`."""

from devserver.cli import main

main()
