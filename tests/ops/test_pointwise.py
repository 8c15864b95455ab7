"""Functions at their edges: the sides of branch cuts, which the sign of a zero tells, the slopes there, and the ends of the range."""

import itertools

import parity
import pytest

NUMBERS = [complex(x, y) for x, y in itertools.product([0.0, -0.0, 0.5, -0.5, 2.0, -2.0], repeat=2)]
ONE_SIDED = ["asin", "acos", "asinh", "acosh"]
"""On their cuts torch has the slopes of one side alone."""
NAMES = ["sqrt", "rsqrt", "log", "log1p", "atanh", "atan", *ONE_SIDED]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_sides_of_branch_cuts(name, dtype):
    parity.agree(lambda lib: getattr(lib, name)(lib.tensor(NUMBERS, dtype=getattr(lib, dtype))))


@pytest.mark.parametrize("name", NAMES)
def test_slopes_beside_branch_cuts(name):
    def slope(lib):
        numbers = [z for z in NUMBERS if z and (name not in ONE_SIDED or (z.real and z.imag))]
        x = lib.tensor(numbers, dtype=lib.complex128, requires_grad=True)
        value = getattr(lib, name)(x)
        return lib.autograd.grad(value, x, lib.ones_like(value))

    parity.agree(slope)


@pytest.mark.parametrize("exponent", [0.5, -0.5])
def test_roots_as_powers(exponent):
    parity.agree(lambda lib: lib.tensor(NUMBERS, dtype=lib.complex128) ** exponent)


@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_ends_of_the_incomplete_gamma_functions(name):
    ends = [0.0, -0.0, 0.25, 2.0, -0.5, float("inf"), -float("inf"), float("nan")]
    pairs = list(itertools.product(ends, repeat=2))
    parity.agree(lambda lib: getattr(lib, name)(*(lib.tensor(x, dtype=lib.float64) for x in zip(*pairs, strict=True))))


@pytest.mark.parametrize("name", ["gcd", "lcm"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint8"])
def test_common_divisors_and_multiples_at_the_ends(name, dtype):
    """The least integer is its own absolute value, with which `jnp.gcd` never ends."""
    info = np.iinfo(dtype)
    least = [info.min, -1, -6] if info.min and (name == "gcd" or info.bits < 32) else []  # torch divides and overflows
    values = np.array([0, 1, 2, 3, 55, 12, info.max, info.max - 1, *least], dtype)
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    got = getattr(jtorch, name)(jtorch.tensor(x), jtorch.tensor(y))
    expected = getattr(torch, name)(torch.tensor(x), torch.tensor(y))
    np.testing.assert_array_equal(np.asarray(got), expected.numpy(), strict=True)
