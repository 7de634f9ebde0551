"""The commands of the command line by family, and what they share."""
