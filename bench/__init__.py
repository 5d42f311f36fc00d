"""Measurements. Run with `make bench`; the results of one run are in `docs/performance.md`."""
