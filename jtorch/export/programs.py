"""`torch.export`: a module as one StableHLO program, in a file that runs with JAX alone.

The file is what `jax.export` serializes: `jax.export.deserialize(data).call(*arrays)` runs it where there is no jtorch.
Writing and reading needs the package flatbuffers (`pip install jtorch-jax[files]`). There is no graph of nodes to edit.
"""

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import errors
from jax import export as jax_export

from jtorch._tensor import Tensor
from jtorch.nn._boxing import boxed, unboxed
from jtorch.nn.module import Module
from jtorch.nn.utils import stateless
from jtorch.ops import _args
from jtorch.serialization.files import written


class Dim:
    """A size that an exported program leaves open.

    Args:
        name: two sizes of one name are equal.
        min, max: what it may be at least, 1 by default, and at most.
    """

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None):
        _args.check(name.isidentifier(), f"Dim(): expected a name, got {name!r}", ValueError)
        self.name, self.min, self.max = name, min, max

    def limits(self) -> list[str]:
        """What JAX is to know of it."""
        least = [] if self.min is None else [f"{self.name} >= {self.min}"]
        return least + ([] if self.max is None else [f"{self.name} <= {self.max}"])


class ExportedProgram:
    """A program that `export` made or `load` read.

    `exported` is JAX's form of it: arrays in, arrays out.
    """

    def __init__(self, exported: Any):
        self.exported = exported

    def module(self) -> Callable:
        """A function of tensors that runs it."""
        return lambda *args, **kwargs: boxed(self.exported.call(*unboxed(args), **unboxed(kwargs)))

    def __repr__(self) -> str:
        """The StableHLO, as text."""
        return self.exported.mlir_module()


def export(
    mod: Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    weights: bool = True,
    platforms: Sequence[str] | None = None,
) -> ExportedProgram:
    """The forward of a module, in the mode that it is in, as a program of its own.

    Args:
        args, kwargs: example inputs, tensors or arrays: their shapes and dtypes count.
        dynamic_shapes: for each argument, in order or by name, None or the `Dim`s by dimension.
        weights: whether parameters and buffers are in the program. If not, it takes them first: a dictionary of arrays
            by name, such as a `state_dict` gives.
        platforms: where it is to run: "cpu", "cuda", "tpu". None is where this process computes.
    Raises:
        TypeError: an input is neither a tensor nor an array.
        RuntimeError: the module draws random numbers or changes its buffers: call `eval()` first.

    Example:
        >>> import jax, jtorch
        >>> model = jtorch.nn.Linear(3, 2).eval()
        >>> batch = jtorch.export.Dim("batch")
        >>> program = jtorch.export.export(model, (jtorch.ones(4, 3),), dynamic_shapes=[{0: batch}])
        >>> program.module()(jtorch.ones(7, 3)).shape
        torch.Size([7, 2])
    """
    _args.check(isinstance(mod, Module), f"export(): expected a module, got {type(mod).__name__}", TypeError)
    args, kwargs = tuple(args), dict(kwargs or {})
    given = {**{f"{i}": value for i, value in enumerate(args)}, **kwargs}
    shapes = _open(_by_argument(mod, args, kwargs, dynamic_shapes), given)
    specs = {name: _spec(value, shapes.get(name), name) for name, value in given.items()}
    positional = [specs.pop(f"{i}") for i in range(len(args))]
    if weights:
        traced: Any = jax.jit(lambda *args, **kwargs: unboxed(mod(*args, **kwargs)))
    else:
        tensors = {**dict(mod.named_parameters()), **dict(mod.named_buffers())}
        positional.insert(0, {name: _spec(tensor, None, name) for name, tensor in tensors.items()})
        traced = jax.jit(lambda values, *args, **kwargs: unboxed(_called(mod, values, args, kwargs)))
    try:
        return ExportedProgram(jax_export.export(traced, platforms=platforms)(*positional, **specs))
    except errors.TraceContextError as error:
        message = "export(): expected a module that draws no random numbers, got one that does; call eval() first"
        raise RuntimeError(message) from error


def _called(mod: Module, values: Mapping[str, Any], args: tuple, kwargs: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it is to be had from another module
        return stateless.functional_call(mod, dict(values), args, dict(kwargs))


def _by_argument(mod: Module, args: tuple, kwargs: Mapping[str, Any], shapes: Any) -> dict[str, Any]:
    """What `dynamic_shapes` says of each argument: positional ones by number."""
    if shapes is None:
        return {}
    if not isinstance(shapes, Mapping):
        places = [*map(str, range(len(args))), *kwargs]
        fits = len(shapes) == len(places)
        _args.check(
            fits, f"export(): expected dynamic_shapes for {len(places)} arguments, got {len(shapes)}", ValueError
        )
        return dict(zip(places, shapes, strict=True))
    order = list(inspect.signature(mod.forward).parameters)[: len(args)]
    places = {name: str(i) for i, name in enumerate(order)} | {name: name for name in kwargs}
    unknown = sorted(set(shapes) - set(places))
    _args.check(not unknown, f"export(): expected dynamic_shapes of {sorted(places)}, got {unknown}", ValueError)
    return {places[name]: shape for name, shape in shapes.items()}


def _open(shapes: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple]:
    """The shape of each argument that has open sizes, with JAX's symbols for these."""
    found: dict[str, dict[int, Dim]] = {}
    for name, said in shapes.items():
        pairs = said.items() if isinstance(said, Mapping) else enumerate(said or ())
        found[name] = {at: dim for at, dim in pairs if dim is not None}
        _args.check(
            all(isinstance(dim, Dim) for dim in found[name].values()),
            f"export(): expected a Dim or None for each dimension, got {said}",
            TypeError,
        )
    dims = {dim.name: dim for each in found.values() for dim in each.values()}
    limits = [limit for dim in dims.values() for limit in dim.limits()]
    symbols = dict(
        zip(dims, jax_export.symbolic_shape(",".join(dims), constraints=limits) if dims else (), strict=True)
    )
    made = {}
    for name, each in found.items():
        shape: list[Any] = list(getattr(given[name], "shape", ()))
        for at, dim in each.items():
            _args.check(
                -len(shape) <= at < len(shape), f"export(): expected a dimension of {shape}, got {at}", ValueError
            )
            shape[at] = symbols[dim.name]
        made[name] = tuple(shape)
    return made


def _spec(value: Any, shape: tuple | None, name: str) -> Any:
    """The shapes and dtypes of an argument, of which only a single tensor has open sizes."""

    def of(leaf: Any) -> jax.ShapeDtypeStruct:
        kinds = isinstance(leaf, Tensor | jax.Array | np.ndarray)
        _args.check(
            kinds,
            f"export(): expected tensors in argument {name}, got {type(leaf).__name__}; fix it in forward()",
            TypeError,
        )
        dtype = jax.dtypes.canonicalize_dtype(getattr(leaf.dtype, "dtype", leaf.dtype))
        return jax.ShapeDtypeStruct(tuple(leaf.shape) if shape is None else shape, dtype)

    return jax.tree.map(of, value, is_leaf=lambda leaf: isinstance(leaf, Tensor))


def save(ep: ExportedProgram, f: Any) -> None:
    """Write a program to a path or an open binary file; at a path it is whole or not there.

    Raises:
        ImportError: flatbuffers is not installed.
    """
    data = ep.exported.serialize()
    with written(f) as file:
        file.write(data)


def load(f: Any) -> ExportedProgram:
    """The program in a file that `save` wrote. It may compute anything: only for files from a source that you trust.

    Raises:
        ImportError: flatbuffers is not installed.
    """
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return load(file)
    return ExportedProgram(jax_export.deserialize(bytearray(f.read())))
