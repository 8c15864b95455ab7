"""LDL of matrices that are not definite: LAPACK's pivots, blocks of two, zero columns, and what has no gradient."""

import jax
import numpy as np
import pytest
import torch

import jtorch

pytestmark = pytest.mark.x64_off


def _matrices(kind, n, dtype):
    """Two matrices, of which LDL reads the lower triangle."""
    rng = np.random.default_rng(n)
    A = rng.normal(size=(2, n, n)) + 1j * rng.normal(size=(2, n, n)) * np.iscomplexobj(np.zeros(0, dtype))
    if kind == "zero diagonal":
        A[:, range(n), range(n)] = 0
    if kind == "zero column":
        A[:, n // 2] = A[:, :, n // 2] = 0
    return torch.from_numpy(A.astype(dtype) if np.iscomplexobj(np.zeros(0, dtype)) else A.real.astype(dtype))


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize(("kind", "n"), [("full", 1), ("full", 70), ("zero diagonal", 9), ("zero column", 9)])
def test_ldl_is_lapacks(kind, n, dtype, hermitian):
    A = _matrices(kind, n, dtype)
    theirs = torch.linalg.ldl_factor_ex(A, hermitian=hermitian)
    ours = jtorch.linalg.ldl_factor_ex(jtorch.tensor(A.numpy()), hermitian=hermitian)
    assert ours.pivots.tolist() == theirs.pivots.tolist()
    assert ours.info.tolist() == theirs.info.tolist()
    torch.testing.assert_close(torch.from_dlpack(ours.LD), theirs.LD, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_ldl_solves_with_blocks_of_two(dtype, hermitian):
    A = _matrices("zero diagonal", 9, dtype)
    LD, pivots = torch.linalg.ldl_factor(A, hermitian=hermitian)
    assert (pivots < 0).any()
    B = torch.ones(9, 2, dtype=A.dtype)
    ours = jax.jit(lambda *x: jtorch.linalg.ldl_solve(*x, hermitian=hermitian))(LD.numpy(), pivots.numpy(), B.numpy())
    wide = B.expand(2, 9, 2)
    torch.testing.assert_close(
        torch.from_dlpack(ours), torch.linalg.ldl_solve(LD, pivots, wide, hermitian=hermitian), rtol=1e-3, atol=1e-4
    )


def test_ldl_solve_has_a_gradient_and_ldl_factor_has_none():
    A = jtorch.tensor([[0.0, 2.0], [2.0, 0.0]])
    B = jtorch.ones(2, 1, requires_grad=True)
    jtorch.linalg.ldl_solve(*jtorch.linalg.ldl_factor(A), B).sum().backward()
    assert B.grad.tolist() == [[0.5], [0.5]]
    LD, _ = jtorch.linalg.ldl_factor(A.requires_grad_())
    with pytest.raises(RuntimeError, match="no gradients"):
        LD.sum().backward()


def test_ldl_of_a_singular_matrix_is_told():
    for library in (torch, jtorch):
        assert library.linalg.ldl_factor_ex(library.zeros(2, 2)).info.item() == 1
        for call in (library.linalg.ldl_factor, lambda a, t=library: t.linalg.ldl_factor_ex(a, check_errors=True)):
            with pytest.raises(RuntimeError):
                call(library.zeros(2, 2))
