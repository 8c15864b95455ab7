"""The handle that registering a hook returns."""

from jtorch.nn.hooks import RemovableHandle as RemovableHandle
