"""Gradients made smaller where they are too large: by their common norm, or each element by itself.

All of them are one program, which works inside a compiled step too; the norm comes back as a tensor, unread.
"""

import types
import warnings
from collections.abc import Iterable
from typing import Any

import jax

from jtorch import _creation
from jtorch._tensor import Tensor, from_array
from jtorch.autograd.grad_mode import no_grad
from jtorch.ops import _args, clipping
from jtorch.ops.joining import cat
from jtorch.ops.norms import linalg_vector_norm


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _by_device(tensors: list[Tensor]) -> list[list[Tensor]]:
    """The tensors in groups that one program can take."""
    groups: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        array = tensor._value()
        where = None if isinstance(array, jax.core.Tracer) else frozenset(array.devices())
        groups.setdefault(where, []).append(tensor)
    return list(groups.values())


def _beside(tensor: Tensor, norm: Any) -> Tensor:
    """A norm on the (first) device of a tensor."""
    return from_array(jax.device_put(norm._value(), next(iter(tensor._value().devices()))))


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as if they were one vector.

    Args:
        norm_type: the order, which may be inf.
        error_if_nonfinite: raise if it is NaN or infinite, which takes waiting for it.
        foreach: accepted; the tensors are always taken together.

    Raises:
        RuntimeError: it is not finite, and that is to be an error.
    """
    tensors, norm_type = _listed(tensors), float(norm_type)
    if not tensors:
        return _creation.tensor(0.0)
    groups = _by_device(tensors)
    if len(groups) == 1:
        total = clipping._total_norm(tensors, norm_type)
    else:
        norms = [_beside(tensors[0], clipping._norms(group, norm_type)) for group in groups]
        total = linalg_vector_norm(cat(norms), norm_type)
    if error_if_nonfinite:
        _args.check(
            total.isfinite().item(),
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`",
            RuntimeError,
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by `max_norm / total_norm`, in place, where that makes them smaller.

    Args:
        total_norm: their norm, as `get_total_norm` gives it.
        foreach: accepted; the gradients are always taken together.
    """
    groups = _by_device(_gradients(_listed(parameters)))
    for group in groups:
        norm = _beside(group[0], total_norm) if len(groups) > 1 else total_norm
        _put(group, clipping._clipped_to_norm(group, float(max_norm), norm))


def _put(gradients: list[Tensor], values: tuple) -> None:
    for gradient, value in zip(gradients, values, strict=True):
        gradient._rebind(value._value())


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all gradients together; where it is more than `max_norm` they are scaled to that, in place.

    Args:
        norm_type: the order, which may be inf.
        error_if_nonfinite: raise if the norm is NaN or infinite, which takes waiting for it.
        foreach: accepted; the gradients are always taken together.

    Raises:
        RuntimeError: the norm is not finite, and that is to be an error.
    """
    given, parameters = parameters, _listed(parameters)
    if isinstance(given, types.GeneratorType) and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Deprecated spelling of `clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Keep every element of the gradients between `-clip_value` and `clip_value`, in place.

    Args:
        foreach: accepted; the gradients are always taken together.
    """
    for group in _by_device(_gradients(_listed(parameters))):
        _put(group, clipping._clipped_to_value(group, float(clip_value)))
