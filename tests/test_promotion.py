"""dtype promotion as torch's, over dtypes, tensors, 0-d tensors and Python numbers: a property test that draws pairs of them.

A few hundred pairs by default, thousands with `--full`. `tests/ops/test_op.py` goes through all pairs for the functions
that only tell dtypes.
"""

import operator

import hypothesis
import jax
import parity
import pytest
import torch
from hypothesis import strategies as st

import jtorch

DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64",
          "complex128")  # fmt: skip
NUMBERS = (True, False, 0, 3, -2, 0.5, -1.25, 2 + 1j)
OPS = {
    name: getattr(operator, name)
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "xor",
                 "iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "iand")
}  # fmt: skip
FUNCTIONS = (
    "result_type",
    "maximum",
    "minimum",
    "fmod",
    "atan2",
    "true_divide",
    "where",
    "cat",
    "lerp",
    "addcmul",
    "clamp",
)

_operands = st.one_of(
    st.tuples(st.sampled_from(DTYPES), st.sampled_from(("tensor", "scalar"))),
    st.tuples(st.sampled_from(NUMBERS), st.just("number")),
)


def _operand(lib, of):
    what, kind = of
    if kind == "number":
        return what
    values = [1, 0, 1] if what == "bool" else [1, 3, 2]
    return lib.tensor(values if kind == "tensor" else values[0], dtype=getattr(lib, what))


def _call(lib, name, x, y):
    if name in OPS:
        try:
            return OPS[name](x, y)
        except NotImplementedError as error:  # in place there may be a second reason to refuse, a RuntimeError
            raise RuntimeError(name) from error
    if name == "where":
        return lib.where(lib.tensor([True, False, True]), x, y)
    if name == "cat":
        return lib.cat([lib.as_tensor(v).reshape(-1) for v in (x, y)])
    if name in ("lerp", "addcmul"):
        return getattr(lib, name)(x, y, 0.5) if name == "lerp" else lib.addcmul(x, y, y, value=2)
    if name == "clamp":
        return lib.clamp(x, min=y)
    made = getattr(lib, name)(x, y)
    return str(made) if name == "result_type" else made


def test_promotion(request):
    count = 10000 if request.config.getoption("full") else 250

    @hypothesis.settings(max_examples=count, deadline=None, database=None, derandomize=True,
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(st.sampled_from((*OPS, *FUNCTIONS)), _operands, _operands)
    @hypothesis.example("lerp", ("int8", "tensor"), ("int8", "tensor"))
    @hypothesis.example("true_divide", ("bool", "tensor"), (False, "number"))
    def agree(name, one, two):
        kinds = {str(what) for what, kind in (one, two) if kind != "number"}
        if not kinds or not jax.config.jax_enable_x64 or _has_half_complex(one, two) or _has_no_kernel(name, one, two):
            return
        parity.agree(lambda lib: _call(lib, name, _operand(lib, one), _operand(lib, two)))

    agree()


def _has_half_complex(*operands):
    """Whether torch's result is of complex32, which JAX does not have."""
    made = torch.result_type(*(_operand(torch, of) for of in operands))
    return made is torch.complex32


def _has_no_kernel(name, one, two):
    """Whether torch has no program for what it has one for with a tensor in place of the number: here both are the same."""
    return name == "clamp" and one[0] == "bool" and isinstance(two[0], bool)


def test_casts_between_all_dtypes():
    for one in DTYPES:
        for two in DTYPES:
            ours, theirs = (lib.can_cast(getattr(lib, one), getattr(lib, two)) for lib in (jtorch, torch))
            assert ours == theirs, f"can_cast({one}, {two})"


def test_weights_between_dtypes():
    for dtype in ("int64", "float32", "complex64"):
        for weight in (1, 0.5, 0.5j):
            parity.agree(lambda lib: lib.lerp(*lib.tensor([[1], [3]], dtype=getattr(lib, dtype)), weight))  # noqa: B023
            parity.agree(lambda lib: lib.lerp(*lib.tensor([[1], [3]], dtype=getattr(lib, dtype)), lib.tensor(weight)))  # noqa: B023


EQUATIONS = ("ij->ji", "ij->i", "ii", "ii->i", "ij,jk->ik", "ij,jk", "ij,kl->ijkl", "ij,jk->k", "ij,kl->kl", "ij,ij->", "...j->j",
             "...j,...j->...", "i...,i...", "ij,jk,kl->il", "ij,jk,lm->ik")  # fmt: skip


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_integers_in_einsum(equation, dtype):
    """What one operand sums by itself is int64, what a matrix product sums is not; a size of 1 makes the one the other."""

    def contracted(lib, size):
        operands = [lib.tensor([[1, 0], [1, 1]], dtype=getattr(lib, dtype)) for _ in equation.split(",")]
        operands[0] = operands[0][:size, :size]
        return lib.einsum(equation, *operands)

    for size in (1, 2):
        parity.agree(lambda lib: contracted(lib, size))  # noqa: B023


@pytest.mark.parametrize("limit", [-255, -1, 0, 2, 200])
@pytest.mark.parametrize("name", ["clamp", "clamp_min", "clamp_max", "clamp_"])
def test_limits_between_unsigned_integers(name, limit):
    """-1 is 255 there, as a number and as a 0-d tensor, of which also 300 is 44; a vector of limits decides the dtype too."""

    def limited(lib, limit):
        return getattr(lib.tensor([1, 0, 3, 255], dtype=lib.uint8), name)(limit)

    parity.agree(lambda lib: limited(lib, limit))
    parity.agree(lambda lib: limited(lib, lib.tensor(limit + 300)))
    if name != "clamp_":
        parity.agree(lambda lib: limited(lib, lib.full((4,), limit, dtype=lib.int16)))


@pytest.mark.parametrize("limit", [True, False])
def test_limits_between_bools(limit):
    mask = jtorch.tensor([True, False])
    parity.agree(lambda lib: lib.tensor([True, False]).clamp(lib.tensor(limit)))
    assert mask.clamp(limit).tolist() == mask.clamp(jtorch.tensor(limit)).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_over_tensors(dtype):
    """torch multiplies by the reciprocal, which is rounded to the tensor's dtype, and infinite where that is too narrow."""
    for number in (True, 2, 2.5, 1e-3, 2 + 1j):
        if (number, dtype) == (2 + 1j, "float16"):  # complex32
            continue
        parity.agree(lambda lib: number / lib.tensor([[1, 0, 3], [5, 7, 1]], dtype=getattr(lib, dtype)))  # noqa: B023
        parity.agree(lambda lib: number / lib.tensor(3, dtype=getattr(lib, dtype)))  # noqa: B023
    parity.agree(lambda lib: 1e-3 / lib.tensor(1e-5, dtype=getattr(lib, dtype)))


@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_remainders_of_bools(name):
    """A bool is refused for being one, before it is looked at for zeros."""
    for divisor in (True, False, 0):
        parity.agree(lambda lib: getattr(lib, name)(lib.tensor([True, False]), divisor))  # noqa: B023
        parity.agree(lambda lib: getattr(lib, name)(lib.tensor([True, False]), lib.tensor(divisor)))  # noqa: B023


@pytest.mark.parametrize("dtype", ["int32", "float32", "complex64"])
@pytest.mark.parametrize("name", ["clamp", "clamp_min", "clamp_max"])
def test_complex_limits(name, dtype):
    parity.agree(lambda lib: getattr(lib.tensor([1, 2], dtype=getattr(lib, dtype)), name)(2 + 1j))
    parity.agree(lambda lib: getattr(lib.tensor([1, 2], dtype=getattr(lib, dtype)), name)(lib.tensor(2 + 1j)))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool", "float32"])
def test_coordinates_are_of_64_bits(dtype):
    parity.agree(lambda lib: lib.unravel_index(lib.tensor([1, 3], dtype=getattr(lib, dtype)), (2, 2)))


@pytest.mark.parametrize("compiled", [False, True])
def test_bools_are_numbers_beside_nan(compiled):
    """XLA by itself makes 0 of the product of False and NaN."""
    products = [
        lambda mask, x: mask * x,
        lambda mask, x: mask.to(x.dtype) * x,
        lambda mask, x: mask.long() * x,
        lambda mask, x: mask / (x * 0),
        lambda mask, x: x.heaviside(x) * x,
        lambda mask, x: x.clone().gt_(0) * x,
        lambda mask, x: x.clone().copy_(mask) * x,
        lambda mask, x: (x.isfinite() & mask).half().float() * x,
        lambda mask, x: (
            mask.logical_not() * x.to(jtorch.complex64 if isinstance(x, jtorch.Tensor) else torch.complex64)
        ),
    ]
    for i, product in enumerate(products):
        run = jtorch.compile(product) if compiled else product
        mine, yours = (
            f(lib.tensor([True, False, True]), lib.tensor([float("nan"), float("inf"), 2.0]))
            for lib, f in ((jtorch, run), (torch, product))
        )
        parity.same(mine, yours, f"product {i}")


@pytest.mark.parametrize("integers", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("floats", ["float16", "bfloat16", "float32", "float64"])
def test_floats_beyond_an_integer_dtype(floats, integers):
    """Undefined in C++, but the same on every processor that torch's wheels for PCs are for."""
    values = [
        -1.0,
        -3.7,
        256,
        300.5,
        -129,
        40000,
        -4e4,
        2.0**31,
        -(2.0**31),
        3e9,
        1e12 + 7,
        2.0**63,
        1e20,
        float("inf"),
        -float("inf"),
        float("nan"),
    ]

    def converted(lib):
        return lib.tensor(values, dtype=lib.float64).to(getattr(lib, floats)).to(getattr(lib, integers))

    parity.agree(converted)
