"""Measurements of jtorch beside torch and beside bare JAX, interleaved in one run: `python -m benchmarks`.

Nothing here is part of the package, and no figure is written down here: the command prints them with the versions.
"""
