"""Pictures of a build: what is in report.json, to look at rather than to read."""
