"""What the comparison with torch lets pass, and what it does not: a judge that nothing can fail proves nothing."""

import parity
import pytest
import torch

import jtorch

LONG = torch.linspace(1.0, 2.0, 4096).reshape(8, 512)


def _total(library):
    return lambda x: (x * x).sum(1)


def test_rounding_passes():
    """Sums in another order differ by more than torch's tolerance where their terms cancel, and are as right."""
    terms = torch.cat([LONG[:, :8], -LONG[:, 8:16]], 1).sin() * 1e5

    def backwards(x):
        return sum(x[:, i] for i in reversed(range(16)))

    with pytest.raises(AssertionError):
        torch.testing.assert_close(backwards(terms), terms.sum(1))
    parity.check(backwards, lambda x: x.sum(1), terms.requires_grad_())


@pytest.mark.parametrize("error", [1e-2, 1e-4, 3e-6])
def test_a_wrong_value_does_not(error):
    with pytest.raises(AssertionError, match="output: Tensor-likes are not close"):
        parity.check(lambda x: _total(jtorch)(x) * (1 + error), _total(torch), LONG)


@pytest.mark.parametrize("error", [1e-2, 1e-4, 1e-5])
def test_a_wrong_gradient_does_not(error):
    def ours(x):
        y = _total(jtorch)(x)
        return y + (y - y.detach()) * error

    with pytest.raises(AssertionError, match="gradient 0: Tensor-likes are not close"):
        parity.check(ours, _total(torch), LONG.clone().requires_grad_())


def test_a_wrong_element_beside_one_that_jumps_does_not():
    """Rounding the input can change the first element by one; the second is far from any edge."""
    x = torch.tensor([0.5, 0.9])
    with pytest.raises(AssertionError, match="output: Tensor-likes are not close"):
        parity.check(lambda x: x.round() - jtorch.tensor([0.0, 1.0]), torch.round, x)
