"""Comparing a function of jtorch with its counterpart of torch: values, dtype, shape, gradients, side effects, errors.

The tolerances are torch's own, those of `torch.testing.assert_close` by dtype; a case may bring wider ones only from
torch's databases.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import torch

import jtorch

_NARROW = {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}


def dtype_here(dtype: torch.dtype) -> str:
    """The name of the dtype that a tensor of torch's `dtype` has in jtorch, given JAX's x64 switch."""
    name = str(dtype).removeprefix("torch.")
    return name if jax.config.jax_enable_x64 else _NARROW.get(name, name)


# between the two libraries


def to_jtorch(value: Any) -> Any:
    """Tensors, dtypes, sizes and modules of torch, also inside containers, as those of jtorch."""
    if isinstance(value, torch.Tensor):
        made = jtorch.tensor(to_numpy(value))
        return made.requires_grad_() if value.requires_grad else made
    if isinstance(value, torch.dtype):
        return getattr(jtorch, str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return jtorch.device(str(value))
    if isinstance(value, torch.Size):
        return jtorch.Size(value)
    if isinstance(value, torch.memory_format | torch.layout):
        return getattr(jtorch, str(value).removeprefix("torch."))
    if isinstance(value, torch.nn.TransformerEncoderLayer | torch.nn.TransformerDecoderLayer):
        return _layer(value)
    if isinstance(value, torch.nn.Module):
        return getattr(jtorch.nn, type(value).__name__)()
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return jtorch.nn.utils.rnn.PackedSequence(*map(to_jtorch, value))
    if callable(value) and getattr(torch.nn.functional, getattr(value, "__name__", ""), None) is value:
        return getattr(jtorch.nn.functional, value.__name__)
    return _inside(to_jtorch, value)


def _layer(layer: torch.nn.Module) -> Any:
    """A layer of torch's transformers, made again from what it shows of its arguments."""
    attention, first, activation = layer.self_attn, layer.linear1, to_jtorch(layer.activation)
    sizes = attention.embed_dim, attention.num_heads, first.out_features, layer.dropout.p, activation, layer.norm1.eps
    flags = attention.batch_first, layer.norm_first, first.bias is not None
    made = getattr(jtorch.nn, type(layer).__name__)(*sizes, *flags, dtype=to_jtorch(first.weight.dtype))
    made.load_state_dict(to_jtorch(dict(layer.state_dict())))
    return made


def _inside(function: Callable, value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(function, value))
    if isinstance(value, list | tuple):
        return type(value)(map(function, value))
    if isinstance(value, Mapping):
        return {k: function(v) for k, v in value.items()}
    if isinstance(value, slice):
        return slice(function(value.start), function(value.stop), function(value.step))
    return value


def _apart(value: Any) -> Any:
    """Our tensors, also inside containers, as views that are not contiguous."""
    if not isinstance(value, jtorch.Tensor):
        return _inside(_apart, value)
    if value.numel() < 2:
        return value
    made = jtorch.stack([value.detach()] * 2, -1)[..., 0]
    assert not made.is_contiguous()
    return made.requires_grad_(value.requires_grad)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A copy of a torch tensor's values, in the NumPy dtype that JAX means by its dtype."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    if plain.dtype == torch.bfloat16:
        return plain.to(torch.float32).numpy().astype(jax.numpy.bfloat16)
    return np.array(plain.numpy(), dtype_here(plain.dtype), copy=True)


def to_torch(value: Any) -> Any:
    """A tensor or array of ours, also inside containers, as a torch tensor of the same dtype."""
    if isinstance(value, jtorch.Tensor | jax.Array):
        array = np.asarray(value.detach().numpy() if isinstance(value, jtorch.Tensor) else value)
        if array.dtype == jax.numpy.bfloat16:
            return torch.tensor(array.astype(np.float32)).to(torch.bfloat16)
        return torch.tensor(array)
    return _inside(to_torch, value)


def fresh(value: Any) -> Any:
    """A copy of torch values with leaves of their own, so that neither side sees what the other writes."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return _inside(fresh, value)


def tensors(value: Any, kind: type) -> list:
    """All tensors in nested containers."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [t for v in value for t in tensors(v, kind)]
    return []


# what a call did


@dataclasses.dataclass
class Outcome:
    """What came of a call: `outputs` (nested), or `error`; the arguments afterwards, and the gradients of the leaves."""

    outputs: Any = None
    error: Exception | None = None
    arguments: list = dataclasses.field(default_factory=list)
    gradients: list = dataclasses.field(default_factory=list)


def _run(library: Any, function: Callable, args: Any, kwargs: dict, cotangents: Callable | None) -> Outcome:
    kind = library.Tensor
    leaves = [t for t in tensors((args, kwargs), kind) if t.requires_grad]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = function(*args, **kwargs)
            carriers = [t for t in tensors(outputs, kind) if t.requires_grad]
            gradients = [None] * len(leaves)
            if cotangents is not None and carriers and leaves:
                drawn = [(t, cotangents(t)) for t in tensors(outputs, kind) if t.is_floating_point() or t.is_complex()]
                vectors = [v for t, v in drawn if t.requires_grad]  # what is constant to one library counts in neither
                gradients = library.autograd.grad(carriers, leaves, vectors, allow_unused=True)
    except Exception as error:
        return Outcome(error=error)
    return Outcome(outputs, None, tensors((args, kwargs), kind), list(gradients))


def _cotangents(library: Any) -> Callable:
    """A function that gives the next random vector shaped like a tensor: the same sequence for both libraries."""
    stream = np.random.default_rng(0)

    def draw(tensor: Any) -> Any:
        name = str(tensor.dtype).removeprefix("torch.")
        values = stream.uniform(0.5, 1.5, tuple(tensor.shape))
        if name.startswith("complex"):
            values = values + 1j * stream.uniform(0.5, 1.5, tuple(tensor.shape))
        return library.tensor(values).to(getattr(library, name))

    return draw


# comparing


def check(
    ours: Callable,
    theirs: Callable,
    *args: Any,
    kwargs: Mapping | None = None,
    gradients: bool = True,
    values: bool = True,
    tolerance: Mapping | None = None,
    finish: Callable | None = None,
    exact: Callable | None = None,
    apart: bool = False,
) -> None:
    """Call both with the same arguments and compare everything that can be seen of it.

    Args:
        args, kwargs: torch's; those that require gradients are differentiated for.
        values: False where only shapes and dtypes are defined, as for random draws.
        tolerance: `atol` and `rtol` from torch's databases, in place of the defaults by dtype.
        finish: applied to the outputs of both before they are compared.
        exact: torch's function in double precision, where it is not the same one: a module has weights of its own.
        apart: our arguments are views whose elements lie with gaps between them.
    """
    kwargs = dict(kwargs or {})
    mine = to_jtorch((args, kwargs))
    mine = _apart(mine) if apart else mine
    copies = fresh((args, kwargs))
    wrap = (lambda f: f) if finish is None else (lambda f: lambda *a, **k: finish(f(*a, **k)))
    expected = _run(torch, wrap(theirs), *copies, _cotangents(torch) if gradients else None)
    got = _run(jtorch, wrap(ours), *mine, _cotangents(jtorch) if gradients else None)
    try:
        compare(got, expected, values=values, tolerance=tolerance or {})
    except AssertionError:
        if expected.error is not None or got.error is not None or not values:
            raise
        compare(got, expected, values=False, tolerance={})

        def in_double(move: Callable) -> Outcome:
            vectors = _rounded_cotangents(expected.outputs, move) if gradients else None
            with _double_by_default():
                return _run(torch, wrap(exact or theirs), *_doubled((args, kwargs), move), vectors)

        if not _as_exact(got, expected, in_double, tolerance or {}):
            raise


# rounding: where both are inexact, ours may be as far from the exact value as theirs is, or as it moves when inputs round

_DOUBLE = {
    torch.float32: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float16: torch.float64,
    torch.complex64: torch.complex128,
}

_INEXACT = {*_DOUBLE, *_DOUBLE.values()}


def _doubled(value: Any, move: Callable) -> Any:
    """A copy of torch values in double precision, dtypes too, each tensor multiplied by `1 + move(tensor)`."""
    if isinstance(value, torch.Tensor):
        wide = value.detach().clone().to(_DOUBLE.get(value.dtype, value.dtype))
        if value.dtype in _DOUBLE:
            wide = wide * (1 + move(value))
        return wide.requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return _DOUBLE.get(value, value)
    if isinstance(value, torch.nn.LinearCrossEntropyOptions):  # how to split the work, for float32 sums
        return None
    return _inside(lambda v: _doubled(v, move), value)


@contextlib.contextmanager
def _double_by_default() -> Iterator[None]:
    """Integers make floats of double precision too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _rounded_cotangents(outputs: Any, move: Callable) -> Callable:
    """The vectors that torch's gradients were of, dtypes of `outputs` included, in double precision and moved."""
    draw, dtypes = _cotangents(torch), (t.dtype for t in tensors(outputs, torch.Tensor) if t.dtype in _INEXACT)
    return lambda tensor: _doubled(draw(tensor).to(next(dtypes)), move)


_DRAWS, _SPREAD, _MOST = 8, 8, 1 / 8
"""How often inputs are moved by a rounding, and how much farther than the largest of these moves a result may be; and
what part of the largest element the worst of torch's may be off, besides 1024 roundings, to be an example."""


def _as_exact(got: Outcome, expected: Outcome, in_double: Callable, tolerance: Mapping) -> bool:
    """Whether all of ours is within the tolerance of torch's, or as near to the result in double precision as it can be."""
    stream = np.random.default_rng(0)

    def rounding(tensor: torch.Tensor) -> torch.Tensor:  # towards 0, so that probabilities stay what they are
        return -2 * torch.finfo(tensor.dtype).eps * torch.tensor(stream.choice([0.0, 1.0], tuple(tensor.shape)))

    runs = [in_double(lambda _: 0), *(in_double(rounding) for _ in range(_DRAWS))]
    if any(run.error is not None for run in runs):
        return False
    mine, yours, exact, *moved = (
        [*tensors(to_torch(o.outputs), torch.Tensor), *to_torch(o.arguments), *to_torch(o.gradients)]
        for o in (got, expected, *runs)
    )
    every = [[None if t is None else t.detach() for t in of] for of in zip(mine, yours, exact, *moved, strict=True)]
    return all(_is_close(*of[:2], tolerance) or _is_rounding(*of[:3], of[3:]) for of in every)


def _is_close(mine: torch.Tensor | None, yours: torch.Tensor | None, tolerance: Mapping) -> bool:
    try:
        if mine is not None and yours is not None:
            _close(mine, yours, "", tolerance)
            return True
    except AssertionError:
        pass
    return False


def _is_rounding(
    mine: torch.Tensor | None, yours: torch.Tensor | None, exact: torch.Tensor | None, moved: Sequence
) -> bool:
    """Whether nothing of ours is farther from the result in double precision than torch's own worst element is, or than
    that result moves when the inputs are moved by a rounding."""
    if mine is None or yours is None or exact is None:
        return all(t is None or not t.any() for t in (mine, yours, exact))
    if not (yours.is_floating_point() or yours.is_complex()) or not yours.numel():
        return torch.equal(mine, yours.to(mine.dtype))
    wide, epsilon = _DOUBLE.get(yours.dtype, yours.dtype), torch.finfo(yours.dtype).eps
    there = exact.to(yours.dtype).isfinite()  # what the dtype can hold
    differ = (mine != yours) & ~(mine.isnan() & yours.isnan())
    if not torch.equal(mine.isfinite(), there) or any(
        (differ & (t.to(yours.dtype).isfinite() != there)).any() for t in moved
    ):
        return False
    off = [(t.to(wide) - exact)[there].abs() for t in (mine, yours, *moved)]
    if not there.any():
        return torch.equal(mine.isnan(), exact.isnan())
    mine_off, yours_off, *moves = off
    size = exact[there].abs()
    known = yours_off[yours_off.isfinite()]  # torch's own may have overflowed
    worst = min(known.max().item(), min(1024 * epsilon, _MOST) * max(1.0, size.max().item())) if known.numel() else 0.0
    allowed = torch.clamp(torch.maximum(epsilon * size, _SPREAD * torch.stack(moves).amax(0)), min=worst)
    return bool((mine_off <= allowed).all())


def check_second_order(
    ours: Callable, theirs: Callable, *args: Any, kwargs: Mapping, values: bool = True, tolerance: Mapping
) -> None:
    """Compare the gradients of the gradients, and the gradients with their graph on the way."""
    mine, copies = to_jtorch((args, dict(kwargs))), fresh((args, dict(kwargs)))
    expected = _run(torch, _gradient_of(torch, theirs), *copies, _cotangents(torch))
    got = _run(jtorch, _gradient_of(jtorch, ours), *mine, _cotangents(jtorch))
    if expected.error is None and got.error is None:  # the tape records constants too, torch does not
        expected.outputs, got.outputs = ([t.detach() for t in x.outputs] for x in (expected, got))
    compare(got, expected, values=values, tolerance=tolerance)


def _gradient_of(library: Any, function: Callable) -> Callable:
    """The function that gives the gradient of the sum of a function's outputs, with its graph."""

    def gradient(*args: Any, **kwargs: Any) -> list:
        leaves = [t for t in tensors((args, kwargs), library.Tensor) if t.requires_grad]
        carriers = [t for t in tensors(function(*args, **kwargs), library.Tensor) if t.requires_grad]
        vectors = [library.ones_like(t) for t in carriers]
        return list(library.autograd.grad(carriers, leaves, vectors, create_graph=True, materialize_grads=True))

    return gradient


def compare(got: Outcome, expected: Outcome, *, values: bool, tolerance: Mapping) -> None:
    """Assert that our outcome is theirs."""
    if expected.error is not None or got.error is not None:
        same_error(got.error, expected.error)
        return
    same(got.outputs, expected.outputs, "output", values, tolerance)
    for i, (mine, yours) in enumerate(zip(got.arguments, expected.arguments, strict=True)):
        if not yours.requires_grad:
            same(mine, yours, f"argument {i} afterwards", values, tolerance)
    for i, (mine, yours) in enumerate(zip(got.gradients, expected.gradients, strict=True)):
        _same_gradient(mine, yours, f"gradient {i}", values, tolerance)


def same_error(mine: Exception | None, yours: Exception | None) -> None:
    """Assert that both are exceptions of one type."""
    if mine is None or _builtin(mine) is not _builtin(yours):
        told = "nothing" if yours is None else f"{type(yours).__name__}: {yours}"
        raise AssertionError(f"torch raised {told}; jtorch raised {type(mine).__name__}: {mine}") from mine


def _builtin(error: Exception | None) -> type | None:
    """The most special type of an exception that Python itself has."""
    kinds = type(error).__mro__ if error is not None else ()
    return next((k for k in kinds if k.__module__ == "builtins"), None)


def _same_gradient(mine: Any, yours: Any, what: str, values: bool, tolerance: Mapping) -> None:
    """A gradient that is None means zeros: the tape knows no function that is constant."""
    if mine is None and yours is None:
        return
    if mine is None or yours is None:
        there = to_torch(mine) if yours is None else yours
        assert not values or not there.any(), f"{what}: None on one side only, the other is {there}"
        return
    same(mine, yours, what, values, tolerance)


def same(mine: Any, yours: Any, what: str, values: bool = True, tolerance: Mapping | None = None) -> None:
    """Assert that nested values of ours are theirs: structure, dtype, shape, requires_grad and numbers."""
    if isinstance(yours, torch.Tensor):
        assert isinstance(mine, jtorch.Tensor), f"{what}: expected a Tensor, got {type(mine).__name__}"
        assert str(mine.dtype).removeprefix("torch.") == dtype_here(yours.dtype), (
            f"{what}: {mine.dtype} for {yours.dtype}"
        )
        assert tuple(mine.shape) == tuple(yours.shape), f"{what}: shape {tuple(mine.shape)} for {tuple(yours.shape)}"
        assert mine.requires_grad == yours.requires_grad, f"{what}: requires_grad is {mine.requires_grad}"
        if values:
            _close(to_torch(mine), yours.detach(), what, tolerance or {})
    elif isinstance(yours, list | tuple):
        assert isinstance(mine, list | tuple) and len(mine) == len(yours), f"{what}: {mine!r} for {yours!r}"
        for i, (m, y) in enumerate(zip(mine, yours, strict=True)):
            same(m, y, f"{what}[{i}]", values, tolerance)
    elif yours is NotImplemented:
        assert mine is NotImplemented, f"{what}: {mine!r} for NotImplemented"
    elif isinstance(yours, bool | int | str | type(None)):
        assert not values or mine == yours, f"{what}: {mine!r} for {yours!r}"
    elif values:
        assert np.allclose(mine, yours, rtol=1e-6, equal_nan=True), f"{what}: {mine!r} for {yours!r}"


def _close(mine: torch.Tensor, yours: torch.Tensor, what: str, tolerance: Mapping) -> None:
    yours = yours.resolve_conj().resolve_neg().to(mine.dtype)  # another dtype only where x64 is off
    torch.testing.assert_close(
        mine, yours, equal_nan=True, check_stride=False, msg=lambda text: f"{what}: {text}", **tolerance
    )


# one script under both libraries


def agree(script: Callable, text: bool = False) -> None:
    """Run `script(library)` with each library and compare what it returns or raises.

    Args:
        text: the messages of the errors have to agree too, up to the first full stop.
    """
    expected, got = (_told(script, library) for library in (torch, jtorch))
    if isinstance(expected, Exception) or isinstance(got, Exception):
        same_error(*(x if isinstance(x, Exception) else None for x in (got, expected)))
        if text:
            assert _first_sentence(got) == _first_sentence(expected)
        return
    same(got, expected, "result")


def _told(script: Callable, library: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return script(library)
        except Exception as error:
            return error


def _first_sentence(error: Exception) -> str:
    return str(error).partition(". ")[0].strip().rstrip(".")


def scripts(table: list) -> Callable:
    """A decorator that adds a function to a table of scripts."""

    def add(function: Callable) -> Callable:
        table.append(function)
        return function

    return add
