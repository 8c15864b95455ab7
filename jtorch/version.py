"""Versions. There is no CUDA that jtorch was built with: JAX brings its own."""

from jtorch._version import __version__ as __version__

cuda: str | None = None
hip: str | None = None
xpu: str | None = None
git_version: str | None = None
debug = False
