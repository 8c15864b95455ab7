"""The forms that convolutions, running sums and dropout take on CPUs, at sizes that torch's samples do not reach."""

import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jtorch
from jtorch import ops
from jtorch.ops import _backend, programs

SHAPES = [
    # input, kernel, stride, padding, dilation, groups
    ((7, 3, 9, 10), (4, 3, 3, 2), (2, 1), (1, 0), (1, 2), 1),
    ((34, 1, 28, 28), (6, 1, 5, 5), 1, 2, 1, 1),  # more than one block of patches
    ((2, 16, 9, 9), (8, 16, 3, 3), 2, 1, 1, 1),
    ((3, 4, 17), (5, 4, 4), 3, 2, 1, 1),
    ((3, 4, 8, 6), (5, 4, 1, 1), (1, 2), 0, 1, 1),  # large images for a kernel of one element
    ((3, 4, 2, 2), (5, 4, 1, 1), 1, 0, 1, 1),
    ((2, 3, 5, 6, 7), (4, 3, 2, 3, 2), (1, 2, 1), 1, 1, 1),
    ((2, 3, 9, 6), (6, 1, 3, 3), (2, 1), 1, 1, 3),  # kernels' gradients row by row
    ((2, 4, 45, 5), (4, 2, 3, 3), 1, 1, (2, 1), 2),  # by four parts of the rows, of which the last is short
    ((2, 3, 8), (3, 1, 3), 2, 1, 1, 3),
    ((2, 2, 5, 4, 6), (2, 1, 2, 3, 3), 1, 1, 1, 2),
    ((2, 3, 11, 12), (6, 1, 9, 9), (2, 1), 4, (1, 2), 3),  # long kernels: row by row
    ((2, 2, 6, 5, 6), (2, 1, 5, 4, 5), (1, 2, 1), 2, 1, 2),
    ((2, 6, 7, 7), (4, 3, 3, 3), 1, 1, 1, 2),
    ((2, 12, 7, 6), (4, 6, 3, 3), 1, (1, 0), 1, 2),
    ((2, 12, 7, 6), (4, 6, 3, 3), 2, 1, 1, 2),
]


def _called(library, x, w, options):
    function = {3: "conv1d", 4: "conv2d", 5: "conv3d"}[len(x.shape)]
    return getattr(library, function)(x, w, None, *options)


@pytest.fixture(params=[_backend._LARGE, 1], ids=["small", "large"])
def size(request, monkeypatch):
    """Within, images of the tests' sizes count as small, or as so large that what is computed of them is kept."""
    monkeypatch.setattr(_backend, "_LARGE", request.param)
    programs.forget_programs()
    yield request.param
    programs.forget_programs()


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation", "groups"), SHAPES)
def test_convolutions_and_their_gradients_to_second_order(size, shape, kernel, stride, padding, dilation, groups):
    options = (stride, padding, dilation, groups)
    _agrees_to_second_order(shape, kernel, lambda library, x, w: _called(library, x, w, options))


@pytest.mark.parametrize(
    ("shape", "kernel", "padding"),
    [
        ((3, 2, 4), (2, 5, 7), 0),
        ((3, 2, 4), (2, 5, 7), 4),  # more than the image has
        ((2, 3, 2, 3), (3, 4, 5, 3), (2, 0)),
        ((2, 3, 3, 1, 3), (3, 2, 4, 4, 3), 1),
    ],
)
def test_transposed_convolutions_of_images_smaller_than_the_kernel(shape, kernel, padding):
    name = f"conv_transpose{len(shape) - 2}d"
    _agrees_to_second_order(shape, kernel, lambda library, x, w: getattr(library, name)(x, w, None, 1, padding))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("conv2d", "n, 3, 8, 8"), ("conv_transpose2d", "n, 3, 8, 8"), ("conv_transpose2d", "2, 3, h, h")],
)
def test_convolutions_of_unknown_sizes(name, sizes):
    x, w = (np.random.default_rng(0).standard_normal(shape) for shape in ((2, 3, 8, 8), (3, 3, 2, 3)))
    call = jax.jit(lambda x: getattr(ops, name)(x, w))
    exported = jax.export.export(call)(jax.ShapeDtypeStruct(jax.export.symbolic_shape(sizes), x.dtype))
    np.testing.assert_allclose(exported.call(x), call(x), rtol=1e-12)


def _agrees_to_second_order(shape, kernel, call):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape), rng.standard_normal(kernel)

    tx, tw = (torch.from_numpy(a).requires_grad_() for a in (x, w))
    first = torch.autograd.grad(call(torch, tx, tw).pow(3).sum(), (tx, tw), create_graph=True)
    second = torch.autograd.grad(sum((g * g).sum() for g in first), (tx, tw))

    def cubes(x, w):
        return (call(ops, x, w) ** 3).sum()

    def squares(x, w):
        return sum((g * g).sum() for g in jax.grad(cubes, (0, 1))(x, w))

    found = *jax.grad(cubes, (0, 1))(x, w), *jax.grad(squares, (0, 1))(x, w)
    for ours, theirs in zip(found, (*first, *second), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-9 * abs(theirs).max().item())


@pytest.mark.parametrize(("channels", "kernel"), [(2, 1), (2, 3), (9, 3)])
def test_tangents_of_either_argument(size, channels, kernel):
    shapes = [(4, channels, 8, 8), (3, channels, kernel, kernel)] * 2
    x, w, dx, dw = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes))
    of_x, of_w = lambda x: ops.conv2d(x, w), lambda w: ops.conv2d(x, w)
    np.testing.assert_allclose(jax.jvp(of_x, (x,), (dx,))[1], of_x(dx), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jvp(of_w, (w,), (dw,))[1], of_w(dw), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 9])
def test_gradients_of_each_image(size, groups):
    x, w = (
        jax.random.normal(jax.random.key(i), shape) for i, shape in ((0, (3, 1, 9, 8, 8)), (1, (9, 9 // groups, 3, 3)))
    )
    gradient = jax.grad(lambda w, x: (ops.conv2d(x, w, groups=groups) ** 2).sum())
    found = jax.vmap(gradient, (None, 0))(w, x), jax.vmap(gradient)(jnp.stack([w, w, 0 * w]), x)
    for images, number in zip(found, (3, 2), strict=True):
        expected = [gradient(w, one) for one in x]
        np.testing.assert_allclose(images[:number], jnp.stack(expected[:number]), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not _backend.on_cpu(), reason="it is for CPUs")
def test_what_is_kept_is_computed_once(monkeypatch):
    monkeypatch.setattr(_backend, "_LARGE", 1)

    def step(x, form):
        y = form(sum(n * x[:, n : n + 30] for n in range(4)))
        return jnp.pad(2 * y, 1), jnp.tanh(y)

    def slices(form):
        return jax.jit(step, static_argnums=1).lower(x, form).compile().as_text().count(" slice(")

    x = jax.random.normal(jax.random.key(0), (64, 40))
    assert slices(lambda y: _backend.kept(y, y[0, 0])) < slices(lambda y: y)
    for number in (0.0, 1.0, jnp.nan):
        np.testing.assert_array_equal(_backend.kept(x, number), x)
    np.testing.assert_array_equal(jax.grad(lambda y: (_backend.kept(y, x[0, 0]) ** 2).sum())(x), 2 * x)


@pytest.mark.parametrize(
    ("shape", "dim"), [((2500,), 0), ((40, 30), 0), ((30, 40), 1), ((3000, 20), 0), ((4, 0, 20), 1)]
)
def test_running_sums_of_many_and_of_few_rows(shape, dim):
    x = np.random.default_rng(0).standard_normal(shape)
    weights = np.arange(x.size, dtype=x.dtype).reshape(shape)
    tx, jx = torch.from_numpy(x).requires_grad_(), jtorch.from_numpy(x).requires_grad_()
    theirs, ours = tx.cumsum(dim), jx.cumsum(dim)
    (theirs * torch.from_numpy(weights)).sum().backward()
    (ours * jtorch.from_numpy(weights)).sum().backward()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(jx.grad.numpy(), tx.grad.numpy(), rtol=1e-12)


def test_dropout_keeps_the_share_it_should():
    ones = jnp.ones((101, 1001))
    for p in (0.0, 0.1, 0.5, 0.9, 1.0):
        kept = np.asarray(ops.dropout(ones, p, key=jax.random.key(1)) != 0)
        assert abs(kept.mean() - (1 - p)) < 5 * (p * (1 - p) / kept.size) ** 0.5 + 1e-12
    kept = np.asarray(ops.dropout(jnp.ones(100_000), 0.5, key=jax.random.key(2)) != 0)
    for one, other in ((kept[::2], kept[1::2]), np.split(kept, 2)):  # which may be parts of one word
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


@pytest.mark.parametrize("make", [lambda: jax.random.key(0, impl="rbg"), lambda: jax.random.PRNGKey(0)])
def test_dropout_takes_every_kind_of_key(make):
    for shape in ((), (0, 3), (5,), (40, 50)):
        assert ops.dropout(jnp.ones(shape), 0.5, key=make()).shape == shape
    assert 800 < np.count_nonzero(ops.dropout(jnp.ones((40, 50)), 0.5, key=make())) < 1200


@pytest.mark.skipif(not _backend.on_cpu(), reason="the options are for CPUs")
def test_convolutions_of_a_compiled_step_stay_out_of_the_slow_library():
    x, w = jnp.ones((8, 64, 16, 16), jnp.float32), jnp.ones((64, 64, 3, 3), jnp.float32)
    lowered = jax.jit(ops.conv2d).lower(x, w)
    assert " convolution(" in lowered.compile(jtorch.compiler_options()).as_text()


@pytest.mark.skipif(not _backend.on_cpu(), reason="the options are for CPUs")
@pytest.mark.parametrize(
    "shape, thin", [((1, 64, 256), True), ((64, 1, 256), True), ((64, 256), False), ((64, 256, 1), True)]
)
def test_sums_beside_a_dimension_of_size_one_stay_out_of_the_slow_library(shape, thin):
    def step(x, w):
        return jax.lax.map(lambda x: jnp.sum(x * w, shape.index(256)), x[None])

    x, w = (jax.random.normal(jax.random.key(n), shape) for n in (0, 1))
    options = jtorch.compiler_options(jax.make_jaxpr(step)(x, w))
    assert ("REDUCE" in str(options)) is not thin
    assert "REDUCE" in str(jtorch.compiler_options())
    compiled = jtorch.compile(step)
    np.testing.assert_allclose(compiled(x, w), step(x, w), rtol=1e-5)


MANY_DIMENSIONS = """
import jtorch
x, w = jtorch.ones(4, 2, 8, 2, 8, 3, 3), jtorch.ones(1, 2, 1, 2, 1, 1, 1)
step = jtorch.compile(lambda x: (x * w).sum(3))
assert bool((step(x) == 2).all())
"""


@pytest.mark.skipif(not _backend.on_cpu(), reason="the options are for CPUs")
def test_sums_of_products_of_many_dimensions_do_not_end_the_process():
    subprocess.run([sys.executable, "-c", MANY_DIMENSIONS], check=True)


def test_options_are_for_a_jaxpr():
    jaxpr = jax.make_jaxpr(jnp.sum)(jnp.ones((1, 64, 256)))
    assert jtorch.compiler_options(jaxpr) == jtorch.compiler_options(jaxpr.jaxpr)
    with pytest.raises(TypeError, match="make_jaxpr"):
        jtorch.compiler_options(jnp.sum)


def test_a_tuned_program_takes_the_options_where_it_is_called_alone(monkeypatch):
    monkeypatch.setattr(_backend, "compiler_options", lambda: {"xla_no_such_option": "1"})
    double = _backend.tuned_jit(lambda x: 2 * x)
    assert jax.jit(double)(3.0) == 6
    assert jax.grad(double)(3.0) == 2
    assert jax.vmap(double)(jnp.ones(2)).tolist() == [2, 2]
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        double(3.0)


def test_options_give_way_to_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=")
    assert jtorch.compiler_options() == {}


def test_options_that_this_xla_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(_backend, "_LIBRARY", "xla_cpu_no_such_option")
    _backend._is_known.cache_clear()
    try:
        assert jtorch.compiler_options() == {}
    finally:
        monkeypatch.undo()
        _backend._is_known.cache_clear()
