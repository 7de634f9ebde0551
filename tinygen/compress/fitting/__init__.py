# SPDX-License-Identifier: Apache-2.0
"""What techniques fit weights with: statistics of layers, searches, and walks through the graph."""
