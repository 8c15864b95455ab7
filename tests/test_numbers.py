"""Python numbers that become elements: each as in torch, or refused as there, over dtypes and the functions that write them."""

import numpy as np
import pytest
import torch

import jtorch

pytestmark = pytest.mark.filterwarnings("ignore:Casting complex values")

DTYPES = (
    "uint8", "int8", "int16", "int32", "int64", "bool", "float16", "bfloat16", "float32", "float64", "complex64",
)  # fmt: skip
REAL = 1 + 0j  # torch takes it beside real dtypes in sums of products
NUMBERS = (
    300, -1, -129, 70000, 2**31, 2**63 - 1, 1.5, -1.0, 300.0, 1e40, float("inf"), float("nan"), 1j, REAL, True,
)  # fmt: skip


def _first(lib):
    return lib.tensor([True, False, False])


def _filled_diagonal(lib, x, v):
    return lib.zeros(2, 2, dtype=x.dtype).fill_diagonal_(v)


def _set(lib, x, v):
    x[0] = v
    return x


FORMS = {
    "tensor": lambda lib, x, v: lib.tensor(v, dtype=x.dtype),
    "list": lambda lib, x, v: lib.as_tensor([v, 0], dtype=x.dtype),
    "full": lambda lib, x, v: lib.full((2,), v, dtype=x.dtype),
    "new_full": lambda lib, x, v: x.new_full((2,), v),
    "full_like": lambda lib, x, v: lib.full_like(x, v),
    "fill_": lambda lib, x, v: x.fill_(v),
    "set": _set,
    "masked_fill": lambda lib, x, v: x.masked_fill(_first(lib), v),
    "index_fill": lambda lib, x, v: x.index_fill(0, lib.tensor([0]), v),
    "scatter": lambda lib, x, v: x.scatter(0, lib.tensor([0]), v),
    "index_add": lambda lib, x, v: x.index_add(0, lib.tensor([0]), x[:1] * 0, alpha=v),
    "fill_diagonal_": _filled_diagonal,
    "where": lambda lib, x, v: lib.where(_first(lib), v, x),
}


def _outcome(form, lib, dtype, value):
    try:
        out = FORMS[form](lib, lib.tensor([44, 0, 1]).to(getattr(lib, dtype)), value)
    except (RuntimeError, TypeError) as error:
        return type(error)
    return str(out.dtype).rpartition(".")[2], repr(out.tolist())


def _stricter(form, dtype, value):
    """Whether an infinity that torch makes of a number is refused, or a dtype is missing."""
    halves = form in ("set", "where") and dtype in ("float16", "bfloat16") and value == 1e40
    return halves or (form == "where" and dtype == "float16" and isinstance(value, complex))  # complex32


def _differences(outcome, form, meant):
    """Where the two libraries do not come to the same, unless that is meant."""
    for dtype in DTYPES:
        for value in NUMBERS:
            expected, got = (outcome(form, lib, dtype, value) for lib in (torch, jtorch))
            if expected != got and not meant(form, dtype, value):
                yield value, dtype, expected, got


@pytest.mark.parametrize("form", FORMS)
def test_numbers_fit_or_are_refused(form):
    assert not list(_differences(_outcome, form, _stricter))


SCALES = {
    "add": lambda lib, x, v: lib.add(x, x, alpha=v),
    "add to a number": lambda lib, x, v: lib.add(x, 2, alpha=v),
    "sub": lambda lib, x, v: lib.sub(x, x, alpha=v),
    "rsub": lambda lib, x, v: lib.rsub(x, x, alpha=v),
    "addcmul": lambda lib, x, v: lib.addcmul(x, x, x, value=v),
    "addmm, alpha": lambda lib, x, v: lib.addmm(x, x, x, alpha=v),
    "addmm, beta": lambda lib, x, v: lib.addmm(x, x, x, beta=v),
    "addr": lambda lib, x, v: lib.addr(x, x[0], x[0], alpha=v, beta=v),
}


def _scaled(form, lib, dtype, value):
    try:
        out = SCALES[form](lib, lib.ones(2, 2, dtype=getattr(lib, dtype)), value)
    except (RuntimeError, TypeError):
        return "refused"
    return str(out.dtype).rpartition(".")[2], repr(out.tolist())


def _otherwise(form, dtype, value):
    """Whether a scale is taken where torch refuses it, or refused where torch takes it, which is meant."""
    wide = dtype == "float16" and abs(value) > 65504  # the product may well be within a half, and is made in float32
    negative = form in ("sub", "rsub") and value == 2**31  # torch looks at the negative scale
    infinite = dtype == "complex64" and value == float("inf")  # products of complex infinities, of which C says little
    return wide or negative or infinite or value is REAL


@pytest.mark.parametrize("form", SCALES)
def test_scales_fit_or_are_refused(form):
    assert not list(_differences(_scaled, form, _otherwise))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_refused_number_leaves_the_tensor(compiled):
    x = jtorch.zeros(2, dtype=jtorch.float16)

    def write():
        x.masked_fill_(x == 0, -1e9)

    with pytest.raises(RuntimeError, match=r"value that float16 can hold, got -1000000000\.0"):
        (jtorch.compile(write) if compiled else write)()
    assert x.tolist() == [0, 0]


@pytest.mark.parametrize("scaled", ["addcmul", "addcdiv", "addmm", "leaky_relu", "nan_to_num"])
def test_complex_numbers_are_no_scales_of_real_ones(scaled):
    x = jtorch.ones(2, 2)
    calls = {
        "addcmul": lambda: jtorch.addcmul(x, x, x, value=1j),
        "addcdiv": lambda: jtorch.addcdiv(x, x, x, value=1j),
        "addmm": lambda: jtorch.addmm(x, x, x, beta=1j),
        "leaky_relu": lambda: jtorch.nn.functional.leaky_relu(x, 1j),
        "nan_to_num": lambda: jtorch.nan_to_num(x, 1j),
    }
    with pytest.raises(RuntimeError, match="complex"):
        calls[scaled]()


@pytest.mark.x64_off
def test_integers_beyond_the_widest_are_refused():
    most = jtorch.iinfo(jtorch.tensor(1).dtype).max
    assert jtorch.tensor([most, 1]).tolist() == [most, 1]
    for make in (jtorch.tensor, lambda v: jtorch.tensor(v, dtype=jtorch.int64)):
        with pytest.raises(RuntimeError, match=f"can hold, got {most + 1}"):
            make([most + 1, 1])
    held = np.array([1, most])
    assert jtorch.from_numpy(held).tolist() == jtorch.tensor(held).tolist() == [1, most]
    if most < 2**62:
        for make in (jtorch.tensor, jtorch.as_tensor, jtorch.from_numpy):
            with pytest.raises(RuntimeError, match=f"can hold, got {most + 1}"):
                make(np.array([1, most + 1]))


def test_integers_beyond_64_bits_become_floats():
    assert jtorch.tensor([2**70], dtype=jtorch.float32).tolist() == [2.0**70]
