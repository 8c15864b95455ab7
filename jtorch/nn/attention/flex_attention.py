"""FlexAttention's names. It is not here: its score functions are compiled by torch's own compiler."""

from typing import Any, NoReturn

from jtorch.ops._args import fail


def _refused(name: str) -> NoReturn:
    fail(
        f"{name}(): FlexAttention is not part of jtorch; use scaled_dot_product_attention() with an attn_mask",
        NotImplementedError,
    )


def flex_attention(*args: Any, **kwargs: Any) -> NoReturn:
    """Nothing: it always raises.

    Raises:
        NotImplementedError: always.
    """
    _refused("flex_attention")


def create_block_mask(*args: Any, **kwargs: Any) -> NoReturn:
    """Nothing: it always raises.

    Raises:
        NotImplementedError: always.
    """
    _refused("create_block_mask")
