"""Singular matrices: what tells of them raises where torch does."""

import pytest
import torch

import jtorch

CALLS = {
    "inv_ex": lambda t, a: t.linalg.inv_ex(a, check_errors=True),
    "solve_ex": lambda t, a: t.linalg.solve_ex(a, t.ones(2, 1), check_errors=True),
    "cholesky_ex": lambda t, a: t.linalg.cholesky_ex(a, check_errors=True),
    "lu_factor_ex": lambda t, a: t.linalg.lu_factor_ex(a, check_errors=True),
    "lu_factor": lambda t, a: t.linalg.lu_factor(a),
}


@pytest.mark.parametrize("name", CALLS)
def test_singular_matrices_are_told(name):
    for library in (torch, jtorch):
        CALLS[name](library, library.eye(2))
        with pytest.raises(RuntimeError):
            CALLS[name](library, library.zeros(2, 2))
