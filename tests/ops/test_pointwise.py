"""Functions at their edges: the sides of branch cuts, which the sign of a zero tells, the slopes there, and the ends of the range."""

import itertools

import numpy as np
import parity
import pytest
import scipy.special

import jtorch

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
    bits, signed = int(dtype.strip("uint")), dtype[0] == "i"
    most = 2 ** (bits - signed) - 1
    least = [-most - 1, -1, -6] if signed and (name == "gcd" or bits < 32) else []  # else torch's division overflows
    pairs = itertools.product([0, 1, 2, 3, 12, 55, most, most - 1, *least], repeat=2)
    operands = list(zip(*pairs, strict=True))
    parity.agree(lambda lib: getattr(lib, name)(*(lib.tensor(x, dtype=getattr(lib, dtype)) for x in operands)))


@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_incomplete_gamma_functions_of_large_arguments(name):
    """From one number of terms on, series do not get to the middle, where both are 1/2; jax.scipy.special says 0 there."""
    values = np.geomspace(21, 1e9, 40)
    a, x = (v.ravel() for v in np.meshgrid(values, np.linspace(-3, 3, 13)))
    x = a + x * np.sqrt(a) * 0.3
    expected = {"igamma": scipy.special.gammainc, "igammac": scipy.special.gammaincc}[name](a, x)
    got = getattr(jtorch, name)(jtorch.tensor(a), jtorch.tensor(x))
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12)
    parity.agree(lambda lib: getattr(lib, name)(*(lib.tensor(v[a < 1e4], dtype=lib.float64) for v in (a, x))))


def test_slopes_of_complex_powers():
    numbers = [3 + 4j, -1 + 0.5j, 0j, 0j, 0.5 - 2j, -2 + 0j]
    exponents = [2 + 0j, 0.5 - 1j, 2 + 0j, 0j, 0j, 3 + 0j]

    def slopes(lib):
        x, y = (lib.tensor(v, dtype=lib.complex128, requires_grad=True) for v in (numbers, exponents))
        total = (x**y)[[0, 1, 2, 4, 5]].sum()
        return lib.autograd.grad(total, (x, y), lib.ones_like(total))

    parity.agree(slopes)


def test_exp2_of_whole_numbers_is_exact():
    exponents = range(-126, 128)
    assert jtorch.exp2(jtorch.tensor(list(exponents), dtype=jtorch.float32)).tolist() == [2.0**n for n in exponents]


def test_zeta_far_below_zero_and_beyond_the_dtype():
    exponents = [2.0, 3.0, 4.5, 7.0, 20.0, 101.0, 1001.0]
    numbers = [0.3, 1.0, 501.0, 1e20, -0.3, -8.75, -9.6, -30.4, -501.2, -1001.2, -13437.7, -500.0]
    pairs = list(itertools.product(exponents, numbers))
    parity.agree(lambda lib: lib.special.zeta(*(lib.tensor(v, dtype=lib.float64) for v in zip(*pairs, strict=True))))
