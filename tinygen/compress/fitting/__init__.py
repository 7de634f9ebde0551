"""What techniques fit weights with: statistics of layers, searches, and walks through the graph."""
