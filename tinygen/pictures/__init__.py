# SPDX-License-Identifier: Apache-2.0
"""Pictures of a build: what is in report.json, to look at rather than to read."""
