"""Samples of a model's inputs: out of arrays, pictures, sounds and Python."""
