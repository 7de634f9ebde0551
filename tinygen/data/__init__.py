# SPDX-License-Identifier: Apache-2.0
"""Samples of a model's inputs: out of arrays, pictures, sounds and Python."""
