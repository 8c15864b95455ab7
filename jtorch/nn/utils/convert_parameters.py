"""Parameters as one vector, and back."""

from collections.abc import Iterable
from typing import Any

from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.ops.joining import cat


def _on_one_device(parameters: Iterable[Tensor]) -> list[Tensor]:
    found = list(parameters)
    _args.check(
        len({str(p.device) for p in found}) <= 1,
        "Found two parameters on different devices, this is currently not supported.",
        TypeError,
    )
    return found


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after another. Gradients pass.

    Raises:
        TypeError: the parameters are on several devices.
    """
    return cat([p.reshape(-1) for p in _on_one_device(parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Put slices of a vector into the parameters, one after another.

    Raises:
        TypeError: `vec` is no tensor, or the parameters are on several devices.

    Differs: the parameters have the values; in torch they share memory with the vector.
    """
    _args.check(isinstance(vec, Tensor), f"expected torch.Tensor, but got: {_type_name(vec)}", TypeError)
    place = 0
    for parameter in _on_one_device(parameters):
        size = parameter.numel()
        parameter.data = vec.detach()[place : place + size].view(parameter.shape)
        place += size


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
