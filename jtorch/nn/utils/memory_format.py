"""Memory formats of convolutions' weights, which XLA chooses by itself: nothing is changed here."""

from typing import Any


def convert_conv2d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """The module as it is.

    Differs: torch lays out the weights of 2-d convolutions in `memory_format`.
    """
    return module


def convert_conv3d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """The module as it is.

    Differs: torch lays out the weights of 3-d convolutions in `memory_format`.
    """
    return module
