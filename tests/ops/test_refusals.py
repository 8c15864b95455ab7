"""Calls that torch refuses, and that would mean nothing here either: arguments of types, dtypes and sizes that do not fit."""

import numpy as np
import parity
import pytest
import torch

import jtorch


def _f(lib):
    return lib.nn.functional


def _ones(lib, *shape, dtype="float32"):
    return lib.ones(shape, dtype=getattr(lib, dtype))


REFUSED = {
    "a str for a bool": lambda t: _ones(t, 2, 3).nanmedian(dim=0, keepdim="a"),
    "None for a bool": lambda t: _f(t).avg_pool1d(_ones(t, 2, 4), 2, ceil_mode=None),
    "a float for an int": lambda t: t.diag_embed(_ones(t, 2, 3), offset=1.5),
    "a bool for an int": lambda t: t.chunk(_ones(t, 4), True),
    "a float among sizes": lambda t: _f(t).conv_transpose2d(
        _ones(t, 1, 2, 4, 4), _ones(t, 2, 2, 3, 3), stride=(2, 1.0)
    ),
    "None for a number": lambda t: t.addmm(_ones(t, 2, 2), _ones(t, 2, 2), _ones(t, 2, 2), beta=None),
    "None among tensors": lambda t: t.broadcast_tensors(_ones(t, 2), None),
    "a number for a tensor": lambda t: t.cartesian_prod(2),
    "weights of layer_norm in float64": lambda t: _f(t).layer_norm(_ones(t, 2, 4), (4,), _ones(t, 4, dtype="float64")),
    "weights of layer_norm in float16": lambda t: _f(t).layer_norm(_ones(t, 2, 4), (4,), _ones(t, 4, dtype="float16")),
    "float64 beside weights in float32": lambda t: _f(t).group_norm(_ones(t, 2, 4, dtype="float64"), 2, _ones(t, 4)),
    "running sums of integers": lambda t: _f(t).batch_norm(
        _ones(t, 2, 4), _ones(t, 4, dtype="int64"), _ones(t, 4, dtype="int64")
    ),
    "a matrix of weights for group_norm": lambda t: _f(t).group_norm(_ones(t, 2, 4), 2, _ones(t, 1, 4)),
    "one running statistic": lambda t: _f(t).instance_norm(_ones(t, 2, 4, 4), _ones(t, 4), None),
    "labels for BCE with logits": lambda t: _f(t).binary_cross_entropy_with_logits(
        _ones(t, 3), _ones(t, 3, dtype="int64")
    ),
    "integers as logits": lambda t: _f(t).binary_cross_entropy_with_logits(_ones(t, 3, dtype="int64"), _ones(t, 3)),
    "bools as classes": lambda t: _f(t).cross_entropy(_ones(t, 2, 3), _ones(t, 2, dtype="bool")),
    "a layer of another dtype before a loss": lambda t: _f(t).linear_cross_entropy(
        _ones(t, 2, 3), _ones(t, 4, 3, dtype="float64"), t.tensor([0, 1])
    ),
    "the largest complex number": lambda t: _f(t).max_pool2d(_ones(t, 1, 1, 4, 4, dtype="complex64"), 2),
    "the largest complex number so far": lambda t: t.cummax(_ones(t, 3, dtype="complex64"), 0),
    "the second complex number": lambda t: t.kthvalue(_ones(t, 3, dtype="complex64"), 2),
    "means of bytes": lambda t: _f(t).avg_pool2d(_ones(t, 1, 1, 4, 4, dtype="uint8"), 2),
    "neighbours of bytes": lambda t: _f(t).local_response_norm(_ones(t, 1, 4, 4, dtype="uint8"), 2),
    "pivots of floats": lambda t: t.lu_unpack(_ones(t, 2, 2), _ones(t, 2)),
    "pivots of int64": lambda t: t.lu_solve(_ones(t, 2, 1), _ones(t, 2, 2), _ones(t, 2, dtype="int64")),
    "reflections of another dtype": lambda t: t.ormqr(_ones(t, 3, 3), _ones(t, 3, dtype="float64"), _ones(t, 3, 3)),
    "the distance of bools": lambda t: t.dist(_ones(t, 3, dtype="bool"), _ones(t, 3)),
    "another size than the repeats make": lambda t: t.repeat_interleave(
        _ones(t, 3), t.tensor([1, 2, 1]), output_size=6
    ),
    "another size than a repeat makes": lambda t: _ones(t, 3).repeat_interleave(2, output_size=5),
    "a negative place in all": lambda t: t.take_along_dim(_ones(t, 2, 2), t.tensor([-1])),
    "targets of more elements than the input": lambda t: _f(t).soft_margin_loss(_ones(t, 3), _ones(t, 2, 3)),
    "complex targets of 1 and -1": lambda t: _f(t).soft_margin_loss(_ones(t, 3), _ones(t, 3, dtype="complex64")),
    "margins between complex numbers": lambda t: _f(t).margin_ranking_loss(
        *[_ones(t, 3, dtype="complex64")] * 2, _ones(t, 3)
    ),
    "complex distances": lambda t: _f(t).hinge_embedding_loss(_ones(t, 3, dtype="complex64"), _ones(t, 3)),
    "complex cosines": lambda t: _f(t).cosine_embedding_loss(*[_ones(t, 2, 3, dtype="complex64")] * 2, _ones(t, 2)),
    "complex differences": lambda t: _f(t).huber_loss(_ones(t, 3), _ones(t, 3, dtype="complex64")),
    "complex probabilities": lambda t: _f(t).kl_div(*[_ones(t, 3, dtype="complex64")] * 2, reduction="sum"),
    "means of integers": lambda t: _f(t).adaptive_avg_pool1d(_ones(t, 1, 1, 4, dtype="int64"), 2),
    "means of bools": lambda t: _f(t).adaptive_avg_pool3d(_ones(t, 1, 1, 4, 4, 4, dtype="bool"), 2),
    "a kernel of no elements": lambda t: _f(t).conv2d(_ones(t, 1, 2, 4, 4), _ones(t, 3, 2, 0, 3)),
    "a kernel of no elements, transposed": lambda t: _f(t).conv_transpose1d(_ones(t, 1, 2, 4), _ones(t, 2, 3, 0)),
    "complex weights": lambda t: _f(t).binary_cross_entropy(_ones(t, 3), _ones(t, 3), _ones(t, 3, dtype="complex64")),
    "complex weights of logits": lambda t: _f(t).binary_cross_entropy_with_logits(
        _ones(t, 3), _ones(t, 3), pos_weight=_ones(t, 3, dtype="complex64")
    ),
    "more weights than elements": lambda t: _f(t).binary_cross_entropy_with_logits(
        _ones(t, 3), _ones(t, 3), weight=_ones(t, 2, 3)
    ),
    "more positive weights than elements": lambda t: _f(t).binary_cross_entropy_with_logits(
        _ones(t, 3), _ones(t, 3), pos_weight=_ones(t, 2, 3)
    ),
    "a negative eps": lambda t: _f(t).batch_norm(_ones(t, 2, 3), t.zeros(3), t.ones(3), eps=-1.0),
    "zeros beyond all memory": lambda t: t.zeros(2**40, 2**40),
    "one number beyond all memory": lambda t: t.full((2**62,), 1.5),
    "one tensor beyond all memory": lambda t: t.full((2**40, 2**40), t.tensor(1.5)),
    "a diagonal beyond all memory": lambda t: t.eye(2**40),
    "counting beyond all memory": lambda t: t.arange(2**62),
    "steps beyond all memory": lambda t: t.linspace(0, 1, 2**62),
    "a window beyond all memory": lambda t: t.hann_window(2**62),
    "draws beyond all memory": lambda t: t.rand(2**40, 2**40),
    "weights beyond all memory": lambda t: t.nn.Conv2d(4, 5, 2**40),
    "new ones beyond all memory": lambda t: _ones(t, 1).new_ones(2**40, 2**40),
    "a view beyond all memory": lambda t: _ones(t, 1).expand(2**40, 2**40),
    "copies beyond all memory": lambda t: _ones(t, 2, 2).tile((2**40, 2**40)),
    "classes beyond all memory": lambda t: _f(t).one_hot(t.tensor([1]), 2**62),
    "padding beyond all memory": lambda t: _f(t).pad(_ones(t, 2, 2), (2**62, 0)),
    "growing beyond all memory": lambda t: _ones(t, 2).resize_(2**40, 2**40),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_by_torch(name):
    with pytest.raises(Exception) as expected:
        REFUSED[name](torch)
    with pytest.raises(Exception) as got:
        REFUSED[name](jtorch)
    parity.same_error(got.value, expected.value)


TAKEN = {
    "neighbours in float64": lambda t: _f(t).local_response_norm(_ones(t, 1, 4, 2, dtype="float64"), 2, 0.3),
    "bools for targets of 1 and -1": lambda t: _f(t).soft_margin_loss(
        t.tensor([1.0, 2.0]), t.tensor([True, False])
    ),
    "powers of integers in a layer": lambda t: t.nn.LPPool1d(2, 2)(t.tensor([[[1, 8, 4, 5]]])),
    "trapezoids of bytes": lambda t: t.trapezoid(t.tensor([200, 100, 50], dtype=t.uint8).reshape(1, 3), dx=2.0),
    "their running sums": lambda t: t.cumulative_trapezoid(t.tensor([60, 60, 50], dtype=t.uint8), dx=2),
    "a diagonal beyond 32 bits": lambda t: (t.triu(_ones(t, 2, 2), 2**40), t.tril(_ones(t, 2, 2), 2**40)),
    "negative floats into bytes": lambda t: t.diagonal_scatter(
        t.zeros(2, 2, dtype=t.uint8), t.tensor([-1.0, -2.0])
    ),
    "the dtype of the target": lambda t: _f(t).binary_cross_entropy_with_logits(
        _ones(t, 3, dtype="float64"), _ones(t, 3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_taken_as_by_torch(name):
    expected, got = (parity.tensors(TAKEN[name](lib), lib.Tensor) for lib in (torch, jtorch))
    for mine, yours in zip(got, expected, strict=True):
        assert str(mine.dtype) == str(yours.dtype)
        assert np.asarray(mine) == pytest.approx(yours.numpy(), rel=1e-12 if yours.dtype == torch.float64 else 1e-6)


def test_repeats_that_are_not_known_take_their_size_on_trust():
    repeat = jtorch.compile(lambda x, repeats: x.repeat_interleave(repeats, output_size=6))
    assert repeat(jtorch.arange(3), jtorch.tensor([1, 2, 3])).tolist() == [0, 1, 1, 2, 2, 2]
    with pytest.raises(RuntimeError, match="output_size= where repeats is traced"):
        jtorch.compile(lambda x, repeats: x.repeat_interleave(repeats))(jtorch.arange(3), jtorch.tensor([1, 2, 3]))
