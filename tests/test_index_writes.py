"""`x[index] = value` for every kind of index and value: what torch writes, and what it refuses to convert."""

import warnings

import numpy as np
import parity
import pytest
import torch

import jtorch

INDICES = {
    "a number": lambda t: 1,
    "a slice": lambda t: slice(0, 2),
    "True": lambda t: True,
    "NumPy's number": lambda t: np.int64(1),
    "a tensor of one number": lambda t: t.tensor(1),
    "two of them": lambda t: (t.tensor(1), t.tensor(0)),
    "places": lambda t: t.tensor([0, 2]),
    "a list": lambda t: [0, 2],
    "a range": lambda t: range(2),
    "places and a slice": lambda t: (t.tensor([0, 2]), slice(None)),
    "a number and places": lambda t: (1, t.tensor([0, 1])),
    "a mask": lambda t: t.tensor([True, False, True]),
    "a mask of bytes": lambda t: t.tensor([1, 0, 1], dtype=t.uint8),
    "a mask of all": lambda t: t.tensor([[True, False]] * 3),
    "a mask of bytes of all": lambda t: t.tensor([[1, 0]] * 3, dtype=t.uint8),
    "a mask and a number": lambda t: (t.tensor([True, False, True]), 0),
    "a mask in a new row": lambda t: (None, t.tensor([True, False, True])),
}
VALUES = {
    "a number": lambda t: 5,
    "half a number": lambda t: 2.5,
    "True": lambda t: True,
    "float32": lambda t: t.tensor(5.0),
    "int64": lambda t: t.tensor(5),
    "float64": lambda t: t.tensor(5.0, dtype=t.float64),
    "bool": lambda t: t.tensor(True),
    "one float32": lambda t: t.tensor([5.0]),
    "one int64": lambda t: t.tensor([5]),
    "two float32": lambda t: t.tensor([5.0, 6.0]),
    "two int64": lambda t: t.tensor([5, 6]),
    "two float16": lambda t: t.tensor([5.0, 6.0], dtype=t.float16),
    "two rows": lambda t: t.tensor([[5, 6], [7, 8]]),
}


def _written(library, dtype, index, value, compiled=lambda function: function):
    """The tensor afterwards, and what was raised."""
    x, error = library.zeros(3, 2, dtype=getattr(library, dtype)), None

    @compiled
    def write(value):
        x[INDICES[index](library)] = value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # masks of bytes are an old way
        try:
            write(VALUES[value](library))
        except Exception as raised:
            error = raised
    return x.tolist(), error


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("index", INDICES)
def test_writes(dtype, index):
    for value in VALUES:
        (got, mine), (expected, yours) = (_written(library, dtype, index, value) for library in (jtorch, torch))
        assert got == expected, f"{value}: {mine!r} for {yours!r}"
        if (mine, yours) != (None, None):
            parity.same_error(mine, yours)


@pytest.mark.parametrize("index", ["a slice", "places", "a mask"])
@pytest.mark.parametrize("value", ["int64", "two int64"])
def test_compiled_writes(index, value):
    (got, mine), (expected, yours) = (
        _written(jtorch, "float32", index, value, jtorch.compile),
        _written(torch, "float32", index, value),
    )
    assert got == expected
    assert type(mine) is type(yours)
