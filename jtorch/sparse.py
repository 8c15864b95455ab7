"""Sparse tensors, which are not available: every tensor is dense."""

from typing import Any, NoReturn

__all__ = ["sparse_coo_tensor", "sparse_csr_tensor"]


def sparse_coo_tensor(*args: Any, **kwargs: Any) -> NoReturn:
    """There are no sparse tensors.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "sparse_coo_tensor(): expected nothing, got a call; sparse tensors are not available: put the values into a dense "
        "one with zeros(size).index_put_(indices, values, accumulate=True)"
    )


def sparse_csr_tensor(*args: Any, **kwargs: Any) -> NoReturn:
    """There are no sparse tensors.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("sparse_csr_tensor(): expected nothing, got a call; sparse tensors are not available")
