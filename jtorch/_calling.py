"""Calling an op on tensors: arrays out of their boxes, the program run and recorded, results back into boxes.

This is the `__jtorch_op__` of Tensor; `_methods` puts it there.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.core import Tracer

from jtorch import _devices, _types
from jtorch._capture import state
from jtorch._memory import _written
from jtorch._tensor import Tensor, _blank, from_array
from jtorch._views import CUT, LONGEST, Step, Unread, may_copy
from jtorch.autograd import tape
from jtorch.autograd.tape import VALUED
from jtorch.ops import _args, casting
from jtorch.ops._placing import boxed
from jtorch.ops._program import spread, unspread


def call(op: Any, traced: tuple, static: tuple, checked: bool = False) -> Any:
    """Run an op on tensors (arrays and numbers may stand beside them): computed, recorded, wrapped.

    It takes the short way where tensors hold arrays with values and nothing else is going on, and the long one otherwise.
    Small ops take as long as their lines here, so that these are few. `checked` says that there is nothing to validate.
    """
    records = state.records
    if records is None or not (op.light or checked) or (op.inplace_at is not None and static[op.inplace_at]):
        return _called(op, traced, static)
    program, flat = op.program(traced, static)
    records = records and op.differentiable
    arrays, wanted, edges = [], (), []
    for value in flat:
        if isinstance(value, Tensor):
            if not value._usual:
                return _called(op, traced, static)
            array = value._raw_value if value._base is None else value._current()
            if records and (value._node is not None or value._requires_grad or value._careful is not None):
                edge = value._edge()
                if edge is not None:
                    wanted += (len(arrays),)
                    edges.append(edge)
            value = array
        elif type(value) is float or type(value) is int:
            value = boxed(value)
        if type(value) not in VALUED:
            return _called(op, traced, static)
        arrays.append(value)
    node = None
    try:
        if wanted:
            out, node = tape.record_valued(program, arrays, wanted, edges)
        else:
            out = program.forward(*arrays)
    except ValueError:  # the long way says more of it
        return _called(op, traced, static)
    if program.container is not None:
        return program.container(_wrap_all(out, node))
    result = _blank(Tensor)
    result._raw_value = out
    if node is not None:
        result._node = node
    return result


def _called(op: Any, traced: tuple, static: tuple) -> Any:
    """The long way, for whatever there may be."""
    if op.inplace_at is not None and static[op.inplace_at]:
        return _call_inplace(op, traced, static)
    if op.view and op.name in _BY_MEMORY and isinstance(traced[0], Tensor) and traced[0]._base is not None:
        return _BY_MEMORY[op.name](op, traced[0], static)
    if op.view and (view := _unread_view(op, traced, static)) is not None:
        return view
    return _computed(op, traced, static)


def _computed(op: Any, traced: tuple, static: tuple) -> Any:
    program, flat, wanted, edges = _unboxed(op, traced, static)
    out, node = _run(program, flat, wanted, edges)
    if not state.grad:
        out = stopped(out)
    if program.container is None:
        result = from_array(out, None if node is None else (node, 0))
        if not op.view:
            return result
        if op.validate is None and not isinstance(out, Tracer):
            program.layouts[flat[0].shape, flat[0].dtype] = out.shape, out.dtype
        return result._as_view(traced[0], Step(program, tuple(flat[1:]), None))
    results = _wrap_all(out, node)
    if op.view:
        for place, result in enumerate(results):
            result._as_view(traced[0], Step(program, tuple(flat[1:]), place))
    return program.container(results)


def _strided(op: Any, view: Tensor, static: tuple) -> Tensor:
    """`as_strided` of a view, whose strides and offset are those of the root's memory."""
    root = view._base
    if root is None or not view._is_settled_view():
        return _computed(op, (view,), static)
    size, stride, offset = static
    place = view._place() if state.grad else None
    _args.check(
        root.dtype == view.dtype, "as_strided(): expected a view of the dtype of its base, got another", RuntimeError
    )
    static = size, stride, view.storage_offset() if offset is None else offset
    if place is not None and (None in view._chain or place[0] is view._leaf):
        return _strided_apart(op, view, static, place)
    result = _computed(op, (root,), static)
    result = result.detach() if None in view._chain and result._chain[-1] is not None else result
    result._careful, result._count = view._careful or result._careful, view._counter()
    return result


def _strided_apart(op: Any, view: Tensor, static: tuple, place: tape.Edge) -> Tensor:
    """`as_strided` of a view with a graph of its own: gradients go to the elements of the view that are in the result."""
    root: Any = view._base
    result = _computed(op, (root.detach(),), static)
    whole, writing = _written(view._chain, (root._value(), None), (view._value(), place))
    program, flat = op.program((whole,), static)
    _, reading = tape.run(program, flat, ((writing, 0),))
    result._node, result._index = reading, 0
    result._head, result._count = None, view._counter()
    result._careful = "as_strided of a view with a graph of its own", result._count[0]
    return result


def _complex(op: Any, view: Tensor, static: tuple) -> Tensor:
    """`view_as_complex` of a view, whose pairs have to lie as complex numbers do."""
    if view._is_settled_view() and view.ndim and view.numel():
        *before, last = view.stride()
        _args.check(
            last == 1 and not any(s % 2 for s in before) and not view.storage_offset() % 2,
            "view_as_complex(): expected a view whose last dimension has stride 1 and whose other strides and offset are even, "
            f"got strides {view.stride()} and offset {view.storage_offset()}; clone() it first",
            RuntimeError,
        )
    return _computed(op, (view,), static)


_BY_MEMORY = {"as_strided": _strided, "view_as_complex": _complex}
"""Ops whose result depends on how the elements of a view lie."""


def _unread_view(op: Any, traced: tuple, static: tuple) -> Tensor | None:
    """A view whose array is left to be read when it is asked for, or None where that has to be done now.

    It is done now where something is traced, and for what was not seen before: the program tells of errors.
    """
    base = traced[0]
    if state.session is not None or not state.tape or not isinstance(base, Tensor) or not base._usual:
        return None
    program, flat = op.program(traced, static)
    root = base if base._base is None else base._base
    array = root._raw_value if base._chain is CUT else base._raw_value
    layout = program.layouts.get((array.shape, array.dtype))
    if layout is None or isinstance(root._raw_value, Tracer) or isinstance(array, Tracer):
        return None
    if any(type(x) is not int for x in flat[1:]) or len(base._chain) >= LONGEST:
        return None
    if None in base._chain and base._place() is not None:  # a detached tensor with a graph of its own
        return None
    step = Step(program, tuple(flat[1:]), None)
    if base._chain and may_copy((*base._chain, step)):
        return None
    shape, dtype = layout
    return from_array(Unread(shape, dtype, base, step))._as_view(base, step)


def _run(program: Any, flat: list, wanted: tuple, edges: list) -> tuple[Any, Any]:
    """The program's outputs and their node on the tape.

    Raises:
        RuntimeError: the tensors are on several devices.
    """
    try:
        out, node = tape.record(program, flat, wanted, edges)
        if program.eager and _devices.several() and program.name != "_to_device":  # may have gone by way of the host
            place = next(x for x in flat if isinstance(x, jax.Array))
            out = jax.tree.map(lambda x: _devices.beside(x, place), out)
        return out, node
    except ValueError as error:
        if "incompatible devices" not in str(error):
            raise
        places = {str(_types.device_of(x)): None for x in flat if isinstance(x, jax.Array)}
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(places)}!"
        ) from None


def stopped(out: Any) -> Any:
    """Outputs under no_grad, for JAX too where it is tracing: no gradient goes through them."""
    if isinstance(out, tuple):
        return tuple(stopped(x) for x in out)
    return jax.lax.stop_gradient(out) if isinstance(out, Tracer) else out


def _unboxed(op: Any, traced: tuple, static: tuple) -> tuple[Any, list, tuple, list]:
    """The program, its arguments as arrays, the places of those that gradients are wanted for, and their edges."""
    program, flat = op.program(traced, static)
    recording = state.grad and state.tape and op.differentiable
    plain = state.session is None
    arrays, wanted, edges, inferred = [], (), [], []
    for value in flat:
        if isinstance(value, Tensor):
            simple = plain and value._base is None and value._usual  # the usual one, for which this spares calls
            array = value._raw_value if simple else value._value()
            alone = not recording or (simple and value._node is None and not value._requires_grad)
            if not alone and (edge := value._edge()) is not None:
                wanted += (len(arrays),)
                edges.append(edge)
            if value._inference:
                inferred.append(len(arrays))
            value = array
        arrays.append(value)
    if inferred and wanted and state.watch is None:  # transforms of `func` keep them
        _check_saves(program, arrays, wanted, inferred)
    if op.validate is not None:
        _check(op, arrays if not op.spread else unspread(arrays, spread(traced)[1]), static)
    return program, arrays, wanted, edges


_OF_PIECES = frozenset({
    "_ctc_loss", "_fractional_max_pool", "attention_of", "copysign", "cosine_embedding_loss", "cosine_similarity", "cov",
    "cumulative_trapezoid", "float_power", "gaussian_nll_loss", "hinge_embedding_loss", "hypot", "kl_div", "l1_loss", "ldexp",
    "linalg_solve_ex", "linear_cross_entropy", "lu_solve", "margin_ranking_loss", "masked_logaddexp",
    "multilabel_soft_margin_loss", "nanquantile", "narrow", "pairwise_distance", "polar", "quantile", "repeat_by",
    "rms_norm", "slopes_along", "stft", "take_along_dim", "trapezoid", "triplet_margin_loss",
})  # fmt: skip
"""Programs of what torch makes of other ops, for which it keeps what these give and not the arguments."""


def _check_saves(program: Any, flat: list, wanted: tuple, inferred: list[int]) -> None:
    """Raise where torch keeps inference tensors for gradients; `inferred` are their places."""
    if program.name in _OF_PIECES:
        return
    saved = program.saves(wanted, flat)
    _args.check(not any(saved[place] for place in inferred), tape.UNSAVED, RuntimeError)


def _check(op: Any, traced: Sequence, static: tuple) -> None:
    """Validate values now; in a program that is being made, leave it to each call of the program."""
    if state.session is None:
        op.check(traced, static)
    else:
        state.session.defer(op, traced, static)


def _wrap_all(outs: Sequence, node: Any) -> list[Tensor]:
    """The outputs boxed; those of inexact dtype take the node's places in order."""
    results, place = [], 0
    for out in outs:
        if node is not None and _args.is_inexact(out.dtype):
            results.append(from_array(out, (node, place)))
            place += 1
        else:
            results.append(from_array(out))
    return results


def _call_inplace(op: Any, traced: tuple, static: tuple) -> Tensor:
    target = traced[0]
    if not isinstance(target, Tensor):
        return call(op, traced, tuple(False if i == op.inplace_at else s for i, s in enumerate(static)))
    target._check_inplace()
    program, flat, wanted, edges = _unboxed(op, traced, static)
    out, node = _run(program, flat, wanted, edges)
    out = out if state.grad else stopped(out)
    return assign_checked(target, out, None if node is None else (node, 0))


def assign_checked(target: Tensor, out: Any, edge: Any) -> Tensor:
    """Put an op's result into a tensor, if its dtype and shape allow.

    Raises:
        RuntimeError: the result's dtype is of a higher category, or its shape is another.
    """
    value = target._value()
    _types.check_cast(out.dtype, value.dtype)
    if tuple(out.shape) != tuple(value.shape):
        raise RuntimeError(f"output with shape {list(value.shape)} doesn't match the broadcast shape {list(out.shape)}")
    if edge is not None and out.dtype != value.dtype:
        program, flat = casting._to_copy.program((out,), (value.dtype,))
        out, node = tape.run(program, flat, (edge,))
        edge = None if node is None else (node, 0)
    return target._assign(out, edge)


def reshaped(tensor: Tensor, result: Tensor, name: str) -> Tensor:
    """Give a tensor another shape in place, as `squeeze_` does.

    Raises:
        RuntimeError: it comes from outside of the function that is being compiled.
    """
    if state.session is not None and state.session.is_outside(tensor):
        raise RuntimeError(
            f"{name}_(): expected a tensor made inside the compiled function, got one from outside, whose shape is part "
            f"of the program; use {name}()"
        )
    return tensor._become(result)
