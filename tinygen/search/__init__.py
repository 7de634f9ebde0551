"""The budget search: of all ways to compress a model, that which fits and loses least."""
