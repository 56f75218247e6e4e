"""Measures `oa-dev` against its peers: `python -m bench`, or `python -m bench --quick`. Results go to RESULTS.md."""
