"""Singular matrices: what tells of them raises where torch does."""

import parity
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


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_of_complex_matrices_has_torchs_gradient(upper):
    parity.agree(lambda lib: _gradient_of_cholesky(lib, upper))


def _gradient_of_cholesky(lib, upper):
    A = lib.tensor([[4, 1 - 2j], [1 + 2j, 5]], dtype=lib.complex128, requires_grad=True)
    weight = lib.tensor([[1 + 1j, 2 - 1j], [0.5 - 3j, 2 + 4j]], dtype=lib.complex128)
    return lib.autograd.grad(lib.linalg.cholesky(A, upper=upper), A, weight)[0]
