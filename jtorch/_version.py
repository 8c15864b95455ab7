"""The version of jtorch."""

__version__ = "0.1.0"
