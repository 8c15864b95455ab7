"""Causal masks given by their rule, for the `attn_mask` of `scaled_dot_product_attention`."""

from jtorch.ops._args import check
from jtorch.ops.attention import CausalBias as CausalBias
from jtorch.ops.attention import CausalVariant as CausalVariant


def _bias(name: str, variant: CausalVariant, size: tuple[int, ...]) -> CausalBias:
    check(len(size) == 2, f"{name}(): expected two sizes, got {len(size)}", AssertionError)
    return CausalBias(variant, *size)


def causal_upper_left(*size: int) -> CausalBias:
    """The mask by which query i attends to keys 0 to i.

    Shape: (L, S)
    Raises:
        AssertionError: not two sizes.
    """
    return _bias("causal_upper_left", CausalVariant.UPPER_LEFT, size)


def causal_lower_right(*size: int) -> CausalBias:
    """The mask by which the last query attends to all keys, and each before it to one less.

    Shape: (L, S)
    Raises:
        AssertionError: not two sizes.
    """
    return _bias("causal_lower_right", CausalVariant.LOWER_RIGHT, size)
