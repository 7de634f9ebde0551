# SPDX-License-Identifier: Apache-2.0
"""Exporters: Graph → model file, to use a quantized model elsewhere."""
