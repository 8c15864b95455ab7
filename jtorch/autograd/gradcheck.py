"""Gradients held against finite differences: `gradcheck`, and `gradgradcheck` for gradients of gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch.autograd import tape
from jtorch.autograd.grad_mode import enable_grad, no_grad
from jtorch.autograd.gradients import grad
from jtorch.autograd.walking import listed
from jtorch.ops import _args
from jtorch.ops._args import check


class GradcheckError(RuntimeError):
    """What `gradcheck` raises where a gradient is wrong."""


def _inexact(values: Sequence) -> list:
    return [x for x in values if hasattr(x, "_edge") and _args.is_inexact(x._value().dtype)]


def _units(dtype: Any) -> tuple:
    """The directions that an element has: along the real line, and for complex numbers along the imaginary one."""
    return (1.0, 1j) if _args.is_complex(dtype) else (1.0,)


def _numerical(of_arrays: Callable, arrays: list, at: int, eps: float) -> list[list[np.ndarray]]:
    """By direction and output: central differences for input `at`, one row for each of its elements."""
    x = arrays[at]
    found = []
    for unit in _units(x.dtype):
        rows = []
        for i in range(x.size):
            step = np.zeros(x.size, x.dtype)
            step[i] = eps * unit
            step = step.reshape(x.shape)
            outs = [of_arrays([*arrays[:at], x + sign * step, *arrays[at + 1 :]]) for sign in (1, -1)]
            rows.append([(a - b).reshape(-1) / (2 * eps) for a, b in zip(*outs, strict=True)])
        found.append([np.stack(column) if rows else np.zeros((0, 0)) for column in zip(*rows, strict=True)])
    return found


def _analytical(out: Any, inputs: list, unit: complex) -> list[np.ndarray]:
    """For each input: a row for each of its elements, of the pullback of `unit` at every element of the output."""
    columns: list[list] = [[] for _ in inputs]
    shape, dtype = tuple(out.shape), out._value().dtype
    for i in range(out.numel()):
        vector = np.zeros(out.numel(), dtype)
        vector[i] = unit
        found = grad(out, inputs, tape.make[0](jnp.asarray(vector.reshape(shape))), True, allow_unused=True)
        for column, g, x in zip(columns, found, inputs, strict=True):
            column.append(np.zeros(x.numel(), x._value().dtype) if g is None else np.asarray(g._value()).reshape(-1))
    return [
        np.stack(column, 1) if column else np.zeros((x.numel(), 0)) for column, x in zip(columns, inputs, strict=True)
    ]


def _compare(func: Callable, inputs: tuple, eps: float, atol: float, rtol: float, nondet_tol: float) -> None:
    def run(arrays: Sequence) -> list:
        given = iter(arrays)
        boxes = [tape.make[0](jnp.asarray(next(given))) if id(x) in places else x for x in inputs]
        with no_grad():
            return [np.asarray(y._value()) for y in _inexact(listed(func(*boxes)))]

    wanted = [x for x in inputs if hasattr(x, "_edge") and x.requires_grad]
    places = {id(x) for x in wanted}
    arrays = [np.asarray(x._value()) for x in wanted]
    with enable_grad():
        outs = _inexact(listed(func(*inputs)))
    numerical = [_numerical(run, arrays, at, eps) for at in range(len(wanted))]
    for o, out in enumerate(outs):
        for part, unit in enumerate(_units(out._value().dtype)):
            live = out.requires_grad
            rows = [_analytical(out, wanted, unit) if live else None for _ in range(2 if live else 1)]
            for i, x in enumerate(wanted):
                expected = _expected(numerical[i], o, part, x._value().dtype)
                got = np.zeros_like(expected) if rows[0] is None else rows[0][i]
                again = got if rows[-1] is None else rows[-1][i]
                check(np.allclose(got, again, 0, nondet_tol, equal_nan=True), _unsteady(o, i), GradcheckError)
                check(
                    np.allclose(got, expected, rtol, atol),
                    f"Jacobian mismatch for output {o} with respect to input {i},\nnumerical:{expected}\nanalytical:{got}\n",
                    GradcheckError,
                )


def _unsteady(output: int, place: int) -> str:
    return (
        f"Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
        f"different values for output {output} and input {place}, although analytical gradient matches numerical "
        "gradient"
    )


def _expected(numerical: list, output: int, part: int, dtype: Any) -> np.ndarray:
    """The pullback of 1, or of 1j, that the differences say: for each direction of the input, how that part moves."""
    moves = [np.imag(rows[output]) if part else np.real(rows[output]) for rows in numerical]
    return moves[0] + 1j * moves[1] if _args.is_complex(dtype) else moves[0]


def _verdict(raise_exception: bool, function: Callable, *args: Any) -> bool:
    try:
        function(*args)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradcheck(
    func: Callable,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of a function agree with finite differences at the inputs that require gradients.

    Double precision is needed for the default tolerances: switch on `jax_enable_x64`.

    Args:
        eps: the step of the differences.
        raise_exception: raise where they do not agree, rather than return False.
        nondet_tol: by how much two backwards may differ.
        check_undefined_grad, check_grad_dtypes, check_batched_grad, check_batched_forward_grad, check_forward_ad,
            check_backward_ad, fast_mode, masked: accepted; the whole Jacobian is always checked, in reverse mode.

    Raises:
        GradcheckError: a gradient is wrong.
        ValueError: no input requires gradients.
    """
    given = listed(inputs)
    wanting = any(hasattr(x, "_edge") and x.requires_grad for x in given)
    check(
        wanting,
        "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True.",
    )
    return _verdict(raise_exception, _compare, func, tuple(given), eps, atol, rtol, nondet_tol)


def gradgradcheck(
    func: Callable,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether the second gradients of a function agree with finite differences of its gradients. See `gradcheck`.

    Args:
        grad_outputs: the vectors that the outputs are pulled back with; None for random ones.

    Raises:
        GradcheckError: a second gradient is wrong.
        ValueError: no input requires gradients.
    """
    given = tuple(listed(inputs))
    outs = [y for y in _inexact(listed(func(*given))) if y.requires_grad]
    if grad_outputs is None:
        draw = np.random.default_rng(0)
        arrays = [jnp.asarray(draw.uniform(-1, 1, tuple(y.shape)), y._value().dtype) for y in outs]
        vectors = [tape.make[0](x).requires_grad_() for x in arrays]
    else:
        vectors = list(listed(grad_outputs))

    def gradients(*values: Any) -> tuple:
        entered = [
            x if not (hasattr(x, "_edge") and wanted) or x.requires_grad else x.detach().requires_grad_()
            for x, wanted in zip(values[: len(given)], wanting, strict=True)
        ]
        with enable_grad():
            made = [y for y in _inexact(listed(func(*entered))) if y.requires_grad]
            ends = [x for x, wanted in zip(entered, wanting, strict=True) if wanted]
            found = grad(made, ends, list(values[len(given) :]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    wanting = [hasattr(x, "_edge") and x.requires_grad for x in given]
    return gradcheck(
        gradients,
        (*given, *vectors),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
    )
