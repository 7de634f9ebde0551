# SPDX-License-Identifier: Apache-2.0
"""The commands of the command line by family, and what they share."""
