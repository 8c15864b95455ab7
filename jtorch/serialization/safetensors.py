"""Safetensors files, through the safetensors library (`pip install jtorch-jax[files]`): tensors by name, nothing else."""

import os
from collections.abc import Mapping
from typing import Any

import jax

from jtorch import _types
from jtorch._tensor import Tensor, from_array
from jtorch.ops import _args


def _library() -> Any:
    try:
        import safetensors.flax
    except ImportError as error:
        message = "expected the package safetensors, got none; install it with `pip install jtorch-jax[files]`"
        raise ImportError(message) from error
    return safetensors.flax


def save_file(
    tensors: Mapping[str, Tensor], filename: str | os.PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name, such as a `state_dict`.

    Args:
        metadata: texts by name that the file keeps beside them.
    Raises:
        TypeError: a value is no tensor.
        RuntimeError: two tensors share memory, which such a file cannot say.
    """
    arrays: dict[str, jax.Array] = {}
    owners: dict[int, str] = {}
    for name, tensor in tensors.items():
        _args.check(isinstance(tensor, Tensor), f"save_file(): expected a tensor {name}, got {type(tensor)}", TypeError)
        root = id(tensor if tensor._base is None else tensor._base)
        shared = owners.setdefault(root, name)
        message = f"save_file(): expected tensors that share no memory, got {shared} and {name}; clone() one"
        _args.check(shared == name, message, RuntimeError)
        arrays[name] = tensor.detach()._concrete("save_file")
    _library().save_file(arrays, os.fspath(filename), dict(metadata) if metadata else None)


def load_file(filename: str | os.PathLike, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors in a file, by name.

    Args:
        device: where they go.
    """
    place = _types.device(device).jax()
    return {name: from_array(jax.device_put(a, place)) for name, a in _library().load_file(os.fspath(filename)).items()}
