"""The rules every policy set has, one family a module."""
