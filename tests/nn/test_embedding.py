"""Embedding and EmbeddingBag: torch's vectors, gradients, written tables and texts, and what they refuse."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from flax import nnx

import jtorch

TABLE = np.random.default_rng(0).normal(size=(6, 3)) * 2
NUMBERS = np.array([[0, 1, 2, 1], [3, 1, 5, 5]])
OFFSETS = np.array([0, 3, 3])
WEIGHTS = np.random.default_rng(1).normal(size=8)


@pytest.mark.parametrize(
    "settings",
    [
        {"padding_idx": 1, "scale_grad_by_freq": True},
        {"padding_idx": -1, "max_norm": 1.5},
        {"max_norm": 1.5, "norm_type": 1.0, "scale_grad_by_freq": True},
        {"sparse": False, "_freeze": True},
    ],
    ids=lambda s: "-".join(s),
)
def test_embedding(settings):
    def script(lib):
        layer = lib.nn.Embedding(6, 3, _weight=lib.tensor(TABLE), **settings)
        out = layer(lib.tensor(NUMBERS))
        if out.requires_grad:
            (out * out).sum().backward()
        return [out, layer.weight.detach(), layer.weight.grad, repr(layer)]

    parity.agree(script)


BAGS = list(itertools.product(("sum", "mean", "max"), ({}, {"padding_idx": -1}, {"max_norm": 1.5, "norm_type": 1.0})))


@pytest.mark.parametrize("mode, settings", BAGS, ids=lambda x: x if isinstance(x, str) else "-".join(x) or "plain")
def test_embedding_bag(mode, settings):
    def script(lib):
        found = []
        for last in (False, True):
            table = lib.tensor(TABLE)
            layer = lib.nn.EmbeddingBag(6, 3, mode=mode, include_last_offset=last, _weight=table, **settings)
            offsets = np.append(OFFSETS, 8) if last else OFFSETS
            weights = lib.tensor(WEIGHTS).requires_grad_() if mode == "sum" and last else None
            out = layer(lib.tensor(NUMBERS.reshape(-1)), lib.tensor(offsets), weights)
            (out * out).sum().backward()
            rows = layer(lib.tensor(NUMBERS))
            rows.sum().backward()
            found += [out, rows, layer.weight.detach(), layer.weight.grad, repr(layer)]
            found += [] if weights is None else [weights.grad]
        return found

    parity.agree(script)


def test_bags_scale_gradients_by_the_frequency_of_each_number():
    table = jtorch.tensor(TABLE).requires_grad_()
    out = jtorch.nn.functional.embedding_bag(
        jtorch.tensor(NUMBERS.reshape(-1)), table, jtorch.tensor([0]), mode="sum", scale_grad_by_freq=True
    )
    out.sum().backward()
    np.testing.assert_allclose(table.grad[:, 0], [1, 1, 1, 1, 0, 1])


def test_pretrained():
    def script(lib):
        made = []
        for kind in (lib.nn.Embedding, lib.nn.EmbeddingBag):
            for freeze in (True, False):
                layer = kind.from_pretrained(lib.tensor(TABLE), freeze, padding_idx=2)
                made += [layer.weight.detach(), layer.weight.requires_grad, layer.padding_idx, repr(layer)]
        return made

    parity.agree(script)


def test_written_tables_in_programs():
    def layer():
        return jtorch.nn.Embedding(6, 3, max_norm=1.5, _weight=jtorch.tensor(TABLE))

    eager, compiled, split = layer(), layer(), layer()
    expected = eager(jtorch.tensor(NUMBERS))
    out = jtorch.compile(lambda x: compiled(x))(jtorch.tensor(NUMBERS))
    carried = nnx.jit(lambda module, x: module(x))(split, jnp.array(NUMBERS))
    for mine in (out.detach().jax(), carried):
        np.testing.assert_allclose(mine, expected.detach())
    for module in (compiled, split):
        np.testing.assert_allclose(module.weight.detach(), eager.weight.detach())


def test_arrays_are_not_written():
    table = jnp.array(TABLE)
    rows = jax.jit(lambda x, t: jtorch.nn.functional.embedding(x, t, max_norm=1.5))(jnp.array(NUMBERS), table)
    assert float(jnp.linalg.norm(rows, axis=-1).max()) < 1.5 + 1e-6
    np.testing.assert_array_equal(table, TABLE)


def bag(lib, numbers=(0, 1), offsets=(0,), **settings):
    table = lib.tensor(TABLE)
    offsets = None if offsets is None else lib.tensor(offsets)
    return lib.nn.functional.embedding_bag(lib.tensor(numbers), table, offsets, **settings)


WRONG = {
    "max and frequency": lambda lib: bag(lib, mode="max", scale_grad_by_freq=True),
    "max and sparse": lambda lib: bag(lib, mode="max", sparse=True),
    "mode": lambda lib: bag(lib, mode="least"),
    "no offsets": lambda lib: bag(lib, offsets=None),
    "offsets and rows": lambda lib: bag(lib, numbers=[[0, 1]]),
    "three dimensions": lambda lib: bag(lib, numbers=[[[0, 1]]], offsets=None),
    "offsets not from 0": lambda lib: bag(lib, offsets=[1]),
    "offsets too large": lambda lib: bag(lib, offsets=[0, 5]),
    "number": lambda lib: bag(lib, numbers=[0, 7]),
    "dtype": lambda lib: bag(lib, numbers=[0.0, 1.0]),
    "padding": lambda lib: bag(lib, padding_idx=6),
    "weights of a mean": lambda lib: bag(lib, per_sample_weights=lib.tensor(WEIGHTS[:2])),
    "number of weights": lambda lib: bag(lib, mode="sum", per_sample_weights=lib.tensor(WEIGHTS[:3])),
    "dtype of weights": lambda lib: bag(lib, mode="sum", per_sample_weights=lib.tensor(WEIGHTS[:2]).float()),
    "padding of the layer": lambda lib: lib.nn.EmbeddingBag(6, 3, padding_idx=6),
    "table of another size": lambda lib: lib.nn.EmbeddingBag(6, 3, _weight=lib.tensor(TABLE[:2])),
    "table of one dimension": lambda lib: lib.nn.EmbeddingBag.from_pretrained(lib.tensor(TABLE[0])),
    "renormed number": lambda lib: lib.nn.functional.embedding(lib.tensor([9]), lib.tensor(TABLE), max_norm=1.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    parity.agree(WRONG[name])


def test_renorm_keeps_the_graph():
    def script(lib):
        leaf = lib.tensor(TABLE).requires_grad_()
        table = leaf * 2
        rows = lib.nn.functional.embedding(lib.tensor(NUMBERS), table, max_norm=1.5)
        rows.sum().backward()
        return [rows, table.detach(), leaf.grad]

    parity.agree(script)
