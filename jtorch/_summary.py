"""What a model is made of: every module with the shapes that it gives, its parameters and its operations.

Nothing is computed: JAX traces the model, and the operations are counted in what it traced.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from jtorch import _types
from jtorch._capture import Capture
from jtorch.nn.module import Module
from jtorch.nn.parameter import is_lazy
from jtorch.ops import _args

_FREE = {
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "bitcast_convert_type",
    "device_put", "dynamic_slice", "dynamic_update_slice", "eq", "gather", "ge", "gt", "iota", "le", "lt", "ne",
    "not", "and", "or", "xor", "pad", "reshape", "rev", "scatter", "select_n", "slice", "squeeze", "split", "stack", "unstack",
    "stop_gradient", "transpose", "expand_dims", "is_finite", "random_bits", "random_seed", "random_wrap",
    "random_unwrap", "random_fold_in", "random_split", "threefry2x32", "shift_left", "shift_right_logical",
    "shift_right_arithmetic", "optimization_barrier",
}  # fmt: skip
"""What moves, compares or chooses, and does not calculate."""


class Line(NamedTuple):
    """One module: `operations` are those of all its calls, with those of the modules inside."""

    name: str
    kind: str
    shape: tuple | None
    parameters: int
    operations: int


class Summary:
    """What `summary` found; printed, it is a table."""

    def __init__(self, lines: list[Line], parameters: int, trainable: int, size: int):
        self.lines, self.parameters, self.trainable, self.size = lines, parameters, trainable, size

    @property
    def operations(self) -> int:
        """Those of the whole model: an addition and a multiplication are two, a choice or a copy is none."""
        return self.lines[0].operations

    def __repr__(self) -> str:
        cells = [("name", "kind", "output", "parameters", "operations")]
        for line in self.lines:
            shown = "" if line.shape is None else " ".join(map(str, line.shape)) or "()"
            cells.append((line.name, line.kind, shown, f"{line.parameters:,}", f"{line.operations:,}"))
        widths = [max(len(row[i]) for row in cells) for i in range(5)]
        rows = []
        for row in cells:
            padded = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            rows.append("  ".join(padded).rstrip())
        total = (
            f"{self.parameters:,} parameters, {self.trainable:,} of them trainable: "
            f"{self.size / 2**20:,.1f} MiB with the buffers; a forward takes {self.operations:,} operations"
        )
        return "\n".join([*rows, "", total])


def summary(model: Module, input_size: Sequence, dtypes: Any = None) -> Summary:
    """The modules of a model with the shapes of their outputs, their parameters and the operations of a forward.

    The model is in eval mode meanwhile.

    Args:
        input_size: the shape of the input, batch included, or a list of the shapes of several.
        dtypes: the dtype of the input, or a list of those of several; by default the default float dtype.
    Raises:
        RuntimeError: a parameter has no shape yet.

    Example:
        >>> import jtorch
        >>> model = jtorch.nn.Sequential(jtorch.nn.Linear(8, 4), jtorch.nn.ReLU())
        >>> jtorch.summary(model, (2, 8))
        name  kind        output  parameters  operations
              Sequential  2 4             36         136
        0     Linear      2 4             36         136
        1     ReLU        2 4              0           0
        <BLANKLINE>
        36 parameters, 36 of them trainable: 0.0 MiB with the buffers; a forward takes 136 operations
    """
    shapes = [input_size] if all(isinstance(n, int) for n in input_size) else list(input_size)
    lazy = [name for name, p in model.named_parameters() if is_lazy(p)]
    _args.check(not lazy, f"summary(): expected parameters with shapes, got {lazy}; call the model once", RuntimeError)
    kinds = list(dtypes) if isinstance(dtypes, tuple | list) else [dtypes] * len(shapes)
    default = _args.default_float()
    inputs = [
        jax.ShapeDtypeStruct(tuple(shape), _args.to_dtype(default if kind is None else kind))
        for shape, kind in zip(shapes, kinds, strict=True)
    ]
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        calls = _calls(model, inputs)
        lines = [_line(name, part, calls.get(name, [])) for name, part in model.named_modules()]
    finally:
        for part, training in modes:
            part.training = training
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    size = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    return Summary(lines, sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained), size)


def _calls(model: Module, inputs: list) -> dict[str, list]:
    """By name, each call of a module: its arguments as shapes, and the shape of what it gives."""
    found: dict[str, list] = {}

    def keep(name: str) -> Any:
        def hook(part: Any, args: Any, kwargs: Any, result: Any) -> None:
            first = next((x for x in jax.tree.leaves(result) if hasattr(x, "shape")), None)
            shape = None if first is None else _types.Size(first.shape)
            found.setdefault(name, []).append((jax.tree.map(_spec, (args, kwargs)), shape))

        return hook

    handles = [part.register_forward_hook(keep(name), with_kwargs=True) for name, part in model.named_modules()]
    try:
        jax.eval_shape(_left_alone(model), *inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _left_alone(run: Callable) -> Callable:
    """`run` on tracers, after which every tensor and attribute that it writes is as it was."""

    def traced(*arrays: Any) -> Any:
        capture = Capture()
        try:
            with capture:
                return run(*arrays)
        finally:
            capture.restore()

    return traced


def _spec(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, jax.Array) else leaf


def _line(name: str, part: Module, calls: list) -> Line:
    total = 0
    for (args, kwargs), _ in calls:
        leaves, tree = jax.tree.flatten((args, kwargs))
        open_ = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.ShapeDtypeStruct)]

        def run(*arrays: Any, leaves: list = leaves, tree: Any = tree, open_: list = open_) -> Any:
            filled = dict(zip(open_, arrays, strict=True))
            args, kwargs = jax.tree.unflatten(tree, [filled.get(i, leaf) for i, leaf in enumerate(leaves)])
            return part(*args, **kwargs)

        total += _operations(jax.make_jaxpr(_left_alone(run))(*(leaves[i] for i in open_)).jaxpr)
    parameters = sum(p.numel() for p in part.parameters())
    return Line(name, type(part).__name__, calls[0][1] if calls else None, parameters, total)


def _operations(jaxpr: Any) -> int:
    """How often what JAX traced calculates a number."""
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    out = max((math.prod(x.aval.shape) for x in equation.outvars), default=0)
    if name == "dot_general":
        (dims, _), _ = params["dimension_numbers"]
        return 2 * out * math.prod(equation.invars[0].aval.shape[d] for d in dims)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        return 2 * out * math.prod(kernel) // kernel[params["dimension_numbers"].rhs_spec[0]]
    inner = [_operations(jaxpr) for jaxpr in _jaxprs(params)]
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "cond":
        return max(inner)
    if name.startswith("reduce_window") or name == "select_and_gather_add":
        return out * math.prod(params.get("window_dimensions", (1,)))
    if inner:
        return inner[0] if name.startswith("custom_") else sum(inner)
    if name in _FREE:
        return 0
    return math.prod(equation.invars[0].aval.shape) if name.startswith(("reduce", "arg")) and equation.invars else out


def _jaxprs(params: dict) -> list:
    """The programs inside an equation."""
    found = []
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            each = getattr(each, "jaxpr", each)
            if hasattr(each, "eqns"):
                found.append(each)
    return found
