"""Exporters: Graph → model file, to use a quantized model elsewhere."""
