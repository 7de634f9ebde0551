# SPDX-License-Identifier: Apache-2.0
"""Depth-first execution: chains of layers computed a few rows at a time, so that maps between them never exist whole.

`parts.py` cuts layers into the parts that operators say they have (`tinygen.ops.rows`), `flow.py` tells in which order
those run, `layout.py` how many rows of each map have to be kept and where, `schedule.py` what that is as a program;
`segment.py` adds kernels. `cuts.py` knows how long tensors live, `ways.py` how layers can run, `arrangement.py` what a
way through the network takes, and `choose.py` and `inside.py` find where in it that pays.
"""
