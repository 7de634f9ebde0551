"""``python -m tinygen``."""

from tinygen.cli import main

main()
