# SPDX-License-Identifier: Apache-2.0
"""Depth-first execution: chains of layers computed a few rows at a time, so that maps between them never exist whole.

`parts.py` says which layers can be computed on rows and what parts they have, `flow.py` in which order those run,
`layout.py` how many rows of each map have to be kept and where, `schedule.py` what that is as a program, `segment.py`
adds kernels, and `choose.py` finds where in a network it pays.
"""
