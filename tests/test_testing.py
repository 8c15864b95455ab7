"""`assert_close` passes, fails and says what torch's does."""

import numpy as np
import pytest
import torch

import jtorch

PAIRS = {
    "the same": lambda t: (t.arange(3.0), t.arange(3.0)),
    "close": lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0 + 1e-6, 2.0])),
    "one element": lambda t: (t.tensor([[1.0, 2.0], [3.0, 4.0]]), t.tensor([[1.0, 2.5], [3.0, 4.0]])),
    "whole numbers": lambda t: (t.tensor([1, 2, 3]), t.tensor([1, 2, 4])),
    "a bool": lambda t: (t.tensor([True, False]), t.tensor([True, True])),
    "complex": lambda t: (t.tensor([1 + 1j]), t.tensor([1 + 2j])),
    "no dimension": lambda t: (t.tensor(1.0), t.tensor(2.0)),
    "numbers": lambda t: (1.0, 1.5),
    "equal numbers": lambda t: (1, 1.0),
    "shapes": lambda t: (t.ones(2), t.ones(3)),
    "dtypes": lambda t: (t.ones(2), t.ones(2, dtype=t.float64)),
    "nan": lambda t: (t.tensor([float("nan"), 1.0]), t.tensor([float("nan"), 1.0])),
    "infinity": lambda t: (t.tensor([float("inf")]), t.tensor([float("inf")])),
    "other infinity": lambda t: (t.tensor([float("inf"), 1.0]), t.tensor([-float("inf"), 1.0])),
    "half": lambda t: (t.tensor([1.0, 2.0]).half(), t.tensor([1.0005, 2.01]).half()),
    "a list": lambda t: ([t.ones(2), t.zeros(1)], [t.ones(2), t.ones(1)]),
    "lengths": lambda t: ([t.ones(2)], [t.ones(2), t.ones(1)]),
    "a mapping": lambda t: ({"a": t.ones(2), "b": [1.0]}, {"a": t.ones(2), "b": [2.0]}),
    "keys": lambda t: ({"a": 1}, {"b": 1}),
    "none": lambda t: ([None], [1.0]),
    "texts": lambda t: ("a", "a"),
    "empty": lambda t: (t.ones(0), t.ones(0)),
}
OPTIONS = ({}, {"rtol": 0.3, "atol": 0.1}, {"equal_nan": True, "check_dtype": False}, {"rtol": 0, "atol": 0})


def outcome(library, case, options):
    """What a comparison raises: the type, and for an AssertionError the text without the digits of differences."""
    try:
        library.testing.assert_close(*PAIRS[case](library), **options)
    except AssertionError as error:
        lines = str(error).replace("\n\n\n", "\n\n").splitlines()
        return [" ".join(_rounded(word) for word in line.split()) for line in lines]
    except Exception as error:
        return type(error)
    return None


def _rounded(word):
    try:
        return f"{np.float32(word):.3g}"
    except ValueError:
        return word


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("case", PAIRS)
def test_assert_close(case, options):
    expected = outcome(torch, case, options)
    got = outcome(jtorch, case, options)
    if case in ("none", "keys", "complex"):  # where the words of torch are others
        assert type(got) is type(expected) and (got is None) == (expected is None)
    else:
        assert got == expected


def test_messages_and_tolerances():
    with pytest.raises(AssertionError, match=r"^mine$"):
        jtorch.testing.assert_close(1.0, 2.0, msg="mine")
    with pytest.raises(AssertionError, match=r"^got: Scalars"):
        jtorch.testing.assert_close(1.0, 2.0, msg=lambda text: f"got: {text}")
    with pytest.raises(ValueError, match="both be specified"):
        jtorch.testing.assert_close(1.0, 2.0, rtol=1.0)
