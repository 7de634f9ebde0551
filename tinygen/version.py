"""The version of tinygen, in one place."""

VERSION = "0.1.0"
