"""What holds for every op by its being one: arrays, Tensors, jit and vmap agree; the tape is `jax.grad`; twins in place.

The inputs are those that torch's samples lead to: a sample is run with every call of an op noted, so that ops which
public functions are made of are reached too. `REACHED_BY` says how to reach those that no entry is named after.
"""

import functools
import warnings
from typing import Any, NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch
from reach import REACHED_BY

import jtorch
from jtorch.ops import _op

CALLS = {"bounded": 1, "full": 2}
"""How many calls of each op are tried."""


class Call(NamedTuple):
    """One call of an op: its arrays, and how to make the call with others in their place."""

    op: Any
    arrays: tuple
    tree: Any
    leaves: tuple

    def run(self, arrays, op=None) -> Any:
        """The call with these in place of its arrays."""
        values = iter(arrays)
        leaves = [next(values) if x is _HOLE else x for x in self.leaves]
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        return (op or self.op)(*args, **kwargs)


_HOLE = object()


def _is_whole(value):
    return isinstance(value, jtorch.Tensor | jtorch.Size)


def _call(op, args, kwargs) -> Call | None:
    leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=_is_whole)
    arrays = [x._value() if isinstance(x, jtorch.Tensor) else x for x in leaves]
    if any(isinstance(x, jax.core.Tracer) for x in arrays):
        return None
    found = tuple(x for x in arrays if isinstance(x, jax.Array))
    return Call(op, found, tree, tuple(_HOLE if isinstance(x, jax.Array) else x for x in arrays))


class noted:
    """Within, calls of an op are appended to a list, with what they were given before they write to it."""

    def __init__(self, op):
        self.op, self.calls, self.kept = op, [], {}

    def __enter__(self):
        for kind in (_op.Op, _op.Derived):
            self.kept[kind] = kind.__call__
            kind.__call__ = self._noting(kind.__call__)
        return self.calls

    def _noting(self, original):
        @functools.wraps(original)
        def call(op, *args, **kwargs):
            if op is self.op and (made := _call(op, args, kwargs)) is not None:
                self.calls.append(made)
            return original(op, *args, **kwargs)

        return call

    def __exit__(self, *_):
        for kind, original in self.kept.items():
            kind.__call__ = original


def _own_entries(op) -> list:
    """The entries of torch's database that are about this op."""
    names = {op.name, *op.alias}
    return [e for e in cases.entries() if cases.ours(e) is op or e.name.rpartition(".")[2] in names]


def _runs(op):
    """Functions that lead to calls of the op, one after another."""
    reach = REACHED_BY.get(op.name)
    if reach is not None and not isinstance(reach, str):
        yield from reach if isinstance(reach, tuple) else (reach,)
        return
    for entry in _own_entries(op) if reach is None else [e for e in cases.entries() if cases.label(e) == reach]:
        dtype = cases.dtypes(entry, full=False)[0]
        samples = [cases.Case(entry, dtype, "", i) for i in cases.spread(len(cases._samples(entry, dtype, "")), 12)]
        for case in samples:
            sample = case.sample()
            args, kwargs = parity.to_jtorch(((sample.input, *sample.args), sample.kwargs))
            yield functools.partial(cases.ours(entry), *args, **kwargs)


extent = [0]


@pytest.fixture(autouse=True, scope="module")
def _extent(request):
    extent[0] = CALLS["full" if request.config.getoption("full") else "bounded"]


@functools.cache
def calls_of(name: str) -> tuple:
    """A few calls of an op with different arguments."""
    op, found = _op.registry[name], {}
    for run in _runs(op):
        with noted(op) as calls, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
        found |= {_looks(call): call for call in reversed(calls)}
        if len(found) >= extent[0]:
            break
    assert found, f"no call of {name} found: say in reach.py how to reach it"
    return tuple(found.values())[: extent[0]]


def _looks(call):
    return str([(a.shape, a.dtype) for a in call.arrays]), str(call.leaves)


UNAVAILABLE = {"scaled_mm", "scaled_grouped_mm"}
"""What raises whatever it is given; see test_signatures.py."""
ALL = sorted({op.name for op in _op.registry.values()} - UNAVAILABLE)
WRITERS = [n for n in ALL if n.endswith("_")]
"""Functions that write their input, as `relu_` does: arrays cannot be written."""
COMPILED = [n for n in ALL if isinstance(_op.registry[n], _op.Op) and not _op.registry[n].eager]
MADE_OF_OPS = [n for n in ALL if isinstance(_op.registry[n], _op.Derived) and n not in WRITERS]
UNRECORDED = {"linalg_ldl_factor_ex"}
"""Whose gradients raise, as in torch."""
GRADIENTS = [n for n in COMPILED if _op.registry[n].differentiable and n not in UNRECORDED]


def _key_name(op) -> str | None:
    """The parameter that takes a random key: always by name alone, and `key` but where that is an attention's."""
    names = [p.name for p in op.__signature__.parameters.values() if p.kind is p.KEYWORD_ONLY]
    return next((n for n in ("key", "dropout_key") if n in names), None)


RANDOM = {n for n in ALL if _key_name(_op.registry[n])}
INPLACE = [n for n in ALL if _op.registry[n].inplace and n not in RANDOM]  # draws in place take no key
KEY = jax.random.key(0)


def _flat(out) -> list:
    """The arrays of a result, in order."""
    tensors = jax.tree.leaves(out, is_leaf=lambda x: isinstance(x, jtorch.Tensor))
    return [x._value() if isinstance(x, jtorch.Tensor) else jnp.asarray(x) for x in tensors]


def _keyed(call: Call) -> Call:
    """The call with a key of its own, if the op draws."""
    if call.op.name not in RANDOM:
        return call
    args, kwargs = jax.tree.unflatten(call.tree, call.leaves)
    kwargs.pop("generator", None)  # another way to say where numbers come from
    bound = call.op.__signature__.bind(*args, **kwargs)
    bound.arguments[_key_name(call.op)] = KEY
    leaves, tree = jax.tree.flatten((bound.args, bound.kwargs), is_leaf=_is_whole)
    return call._replace(tree=tree, leaves=tuple(leaves))


def _equal(got, expected, exactly=False):
    got, expected = _flat(got), _flat(expected)
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == e.dtype and g.shape == e.shape
        g, e = parity.to_torch(g), parity.to_torch(e)
        limits = {"rtol": 0, "atol": 0} if exactly else {}
        torch.testing.assert_close(g, e, equal_nan=True, **limits)


@pytest.mark.x64_off
@pytest.mark.parametrize("name", [n for n in ALL if n not in WRITERS])
def test_arrays_in_arrays_out_and_tensors_in_tensors_out(name):
    for call in map(_keyed, calls_of(name)):
        if not call.arrays:
            continue
        on_arrays = call.run(call.arrays)
        on_tensors = call.run([jtorch.Tensor(a) for a in call.arrays])
        assert not any(isinstance(x, jtorch.Tensor) for x in jax.tree.leaves(on_arrays, is_leaf=_is_tensor))
        _equal(on_tensors, on_arrays, exactly=True)


def _is_tensor(value):
    return isinstance(value, jtorch.Tensor)


@pytest.mark.x64_off
@pytest.mark.parametrize("name", WRITERS)
def test_a_function_that_writes_refuses_arrays(name):
    for call in calls_of(name):
        with pytest.raises(TypeError, match="array"):
            call.run(call.arrays)
        tensors = [jtorch.Tensor(a) for a in call.arrays]
        expected = call.run(call.arrays, op=_op.registry[name[:-1]])
        assert call.run(tensors) is tensors[0]
        _equal(tensors[0], expected, exactly=True)


DEPENDS_ON_VALUES = {
    "allclose", "equal", "masked_select", "nonzero", "one_hot", "tensor_split", "unique", "unique_consecutive",
}  # fmt: skip
"""Functions whose result has a shape, or is a Python number, that values decide."""


@pytest.mark.parametrize("name", sorted(DEPENDS_ON_VALUES))
def test_what_depends_on_values_refuses_jit(name):
    for call in calls_of(name)[:1]:
        with pytest.raises((RuntimeError, jax.errors.JAXTypeError)):
            jax.jit(lambda *a, call=call: _flat(call.run(a)))(*call.arrays)


@pytest.mark.parametrize("name", [*COMPILED, *(n for n in MADE_OF_OPS if n not in DEPENDS_ON_VALUES)])
def test_jit_and_vmap_give_the_same(name):
    for call in map(_keyed, calls_of(name)):
        expected = call.run(call.arrays)
        _equal(jax.jit(lambda *a, call=call: call.run(a))(*call.arrays), expected)
        if call.arrays and name not in RANDOM:
            stacked = [jnp.stack([a, a]) for a in call.arrays]
            batched = jax.vmap(lambda *a, call=call: call.run(a))(*stacked)
            _equal([x[1] for x in _flat(batched)], expected)


@pytest.mark.parametrize("name", GRADIENTS)
def test_tape_is_jax_grad(name):
    for call in map(_keyed, calls_of(name)):
        places = [i for i, a in enumerate(call.arrays) if jnp.issubdtype(a.dtype, jnp.inexact)]
        expected = jax.grad(functools.partial(_weighed, call, places))([call.arrays[i] for i in places])
        leaves = [jtorch.Tensor(a) for a in call.arrays]
        for i in places:
            leaves[i].requires_grad_()
        outs = jax.tree.leaves(call.run(leaves), is_leaf=_is_tensor)
        carriers = [x for x in outs if x.requires_grad]
        if not carriers:
            continue
        vectors = [jtorch.Tensor(_weights(x._value())) for x in outs]
        found = jtorch.autograd.grad(
            carriers, [leaves[i] for i in places], [v for x, v in zip(outs, vectors, strict=True) if x.requires_grad],
            materialize_grads=True,
        )  # fmt: skip
        _equal(list(found), [jnp.conj(x) for x in expected])  # torch's gradients are the conjugates of JAX's


def _weighed(call, places, values):
    """A real scalar made of all outputs of a call."""
    arrays = list(call.arrays)
    for i, value in zip(places, values, strict=True):
        arrays[i] = value
    inexact = [x for x in _flat(call.run(arrays)) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return sum((jnp.sum(x * _weights(x).conj()).real for x in inexact), jnp.zeros(()))


def _weights(array):
    numbers = np.linspace(0.5, 1.5, max(array.size, 1))[: array.size].reshape(array.shape)
    return jnp.asarray(numbers * (1 - 0.5j) if jnp.iscomplexobj(array) else numbers).astype(array.dtype)


KEEP_THEIR_DTYPE = {"float_power"}
"""Whose form in place torch refuses where the result has another dtype."""


@pytest.mark.parametrize("name", INPLACE)
def test_in_place_is_out_of_place(name):
    for call in calls_of(name):
        if not call.arrays or name in RANDOM:
            continue
        tensors = [jtorch.Tensor(a) for a in call.arrays]
        target, before = tensors[0], call.arrays[0]
        expected = _flat(call.run(call.arrays))[0]
        twin = getattr(jtorch.Tensor, name + "_")
        fits = expected.dtype == before.dtype
        if name not in KEEP_THEIR_DTYPE:
            fits = jtorch.can_cast(jtorch.Tensor(expected).dtype, target.dtype)
        if call.op.view or (expected.shape == before.shape and fits):
            assert call.run(tensors, op=twin) is target
            _equal(target, expected.astype(before.dtype))
        else:
            with pytest.raises(RuntimeError):
                call.run(tensors, op=twin)
            _equal(target, before, exactly=True)


@pytest.mark.parametrize("name", COMPILED)
def test_second_call_compiles_nothing(name, compilations):
    for call in map(_keyed, calls_of(name)):
        leaves = [jtorch.Tensor(a) for a in call.arrays]
        for leaf in leaves:
            if leaf.is_floating_point() and call.op.name not in UNRECORDED:
                leaf.requires_grad_()

        def step(call=call, leaves=leaves):
            outs = jax.tree.leaves(call.run(leaves), is_leaf=_is_tensor)
            carriers = [x for x in outs if isinstance(x, jtorch.Tensor) and x.requires_grad]
            if carriers:
                jtorch.autograd.backward(
                    carriers, [jtorch.Tensor(jnp.zeros(x.shape, x._value().dtype)) for x in carriers]
                )
            return [x._value() for x in outs if isinstance(x, jtorch.Tensor)]

        step()
        step()  # the first accumulation into .grad compiles an addition
        assert compilations(step) == 0


def test_every_name_reached_is_needed():
    assert REACHED_BY.keys() <= set(ALL)
