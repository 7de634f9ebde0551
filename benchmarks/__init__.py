# SPDX-License-Identifier: Apache-2.0
"""Measurements against other tools, and on published networks. See docs/benchmarks.md."""
