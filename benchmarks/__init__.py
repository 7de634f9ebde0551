"""Measurements against other tools, and on published networks. See docs/benchmarks.md."""
