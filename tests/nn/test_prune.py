"""Pruning, compared with torch."""

import copy

import jax
import pytest
import torch.nn.utils.prune  # noqa: F401 - torch does not import it by itself
from nn.both import state, trained, waved
from parity import agree

import jtorch


def layer(lib):
    return waved(lib.nn.Linear(4, 5))


WAYS = {
    "identity": lambda p, m: p.identity(m, "weight"),
    "l1 count": lambda p, m: p.l1_unstructured(m, "weight", 7),
    "l1 part": lambda p, m: p.l1_unstructured(m, "weight", 0.35),
    "l1 bias": lambda p, m: p.l1_unstructured(m, "bias", amount=2),
    "l1 scores": lambda p, m: p.l1_unstructured(m, "weight", 3, importance_scores=-m.weight.detach().exp()),
    "l1 none": lambda p, m: p.l1_unstructured(m, "weight", 0),
    "ln": lambda p, m: p.ln_structured(m, "weight", 2, n=2, dim=0),
    "ln last": lambda p, m: p.ln_structured(m, "weight", 0.5, n=1, dim=-1),
    "ln inf": lambda p, m: p.ln_structured(m, "weight", 1, n=float("inf"), dim=1),
    "ln fro": lambda p, m: p.ln_structured(m, "weight", 1, n="fro", dim=1),
    "mask": lambda p, m: p.custom_from_mask(m, "weight", m.weight.detach() > 0),
    "all": lambda p, m: p.random_unstructured(m, "weight", 1.0),
    "no slices": lambda p, m: p.random_structured(m, "weight", 0, dim=0),
}  # fmt: skip
ERRORS = {
    "too many": lambda p, m: p.l1_unstructured(m, "weight", 21),
    "negative": lambda p, m: p.random_unstructured(m, "weight", -1),
    "more than all": lambda p, m: p.random_unstructured(m, "weight", 1.5),
    "text": lambda p, m: p.random_structured(m, "weight", "many", 0),
    "dim": lambda p, m: p.ln_structured(m, "weight", 1, 2, 3),
    "vector": lambda p, m: p.ln_structured(m, "bias", 1, 2, 0),
    "nothing": lambda p, m: p.identity(m, "nothing"),
    "not pruned": lambda p, m: p.remove(m, "weight"),
    "scores": lambda p, m: p.l1_unstructured(m, "weight", 1, importance_scores=m.bias),
    "mask": lambda p, m: p.custom_from_mask(m, "weight", m.bias > 0),
    "global type": lambda p, m: p.global_unstructured([(m, "weight")], p.LnStructured, amount=1, n=2),
    "global scores": lambda p, m: p.global_unstructured([(m, "weight")], p.L1Unstructured, [1], amount=1),
    "global number": lambda p, m: p.global_unstructured(3, p.L1Unstructured, amount=1),
    "container": lambda p, m: p.PruningContainer().add_pruning_method(3),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_ways(way):
    def script(lib):
        module = layer(lib)
        returned = WAYS[way](lib.nn.utils.prune, module)
        module(lib.ones(2, 4)).pow(2).sum().backward()
        grads = [p.grad for p in module.parameters()]
        hooks = [type(h).__name__ for h in module._forward_pre_hooks.values()]
        pruned = lib.nn.utils.prune.is_pruned(module)
        return [returned is module, state(module), module.weight, module.bias, grads, hooks, pruned]

    agree(script)


@pytest.mark.parametrize("way", ERRORS)
def test_errors(way):
    agree(lambda lib: ERRORS[way](lib.nn.utils.prune, layer(lib)))


@pytest.mark.parametrize("way", ["too many", "dim", "mask"])
def test_nothing_changes_where_it_fails(way):
    module = layer(jtorch)
    before = state(module)
    with pytest.raises((ValueError, IndexError, AssertionError)):
        ERRORS[way](jtorch.nn.utils.prune, module)
    assert [n for n, _ in module.named_parameters()] == before[3] and not jtorch.nn.utils.prune.is_pruned(module)


@pytest.mark.parametrize("first", ["l1 count", "ln", "mask"])
@pytest.mark.parametrize("second", ["l1 part", "ln last", "mask", "identity"])
def test_one_after_another(first, second):
    def script(lib):
        prune, module = lib.nn.utils.prune, layer(lib)
        for way in (first, second, "l1 count"):
            WAYS[way](prune, module)
        (hook,) = module._forward_pre_hooks.values()
        return [state(module), module.weight, len(hook), [type(m).__name__ for m in hook], type(hook[0]).__name__]

    agree(script)


def test_removal():
    def script(lib):
        prune, module = lib.nn.utils.prune, layer(lib)
        original = module.weight
        prune.l1_unstructured(module, "weight", 5)
        same = module.weight_orig is original
        returned = prune.remove(module, "weight") is module
        return [same, returned, module.weight is original, state(module), prune.is_pruned(module), module.weight]

    agree(script)


def test_global():
    def script(lib):
        prune, model = lib.nn.utils.prune, lib.nn.Sequential(layer(lib), lib.nn.ReLU(), waved(lib.nn.Linear(5, 2)))
        pairs = ((model[0], "weight"), (model[2], "weight"), (model[2], "bias"))
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.4)
        prune.global_unstructured(pairs, prune.L1Unstructured, {(model[2], "bias"): lib.ones(2)}, amount=3)
        return [state(model), model(lib.ones(1, 4))]

    agree(script)


def test_without_a_module():
    def script(lib):
        t, method = lib.arange(-4.0, 8.0).reshape(3, 4), lib.nn.utils.prune.L1Unstructured(5)
        mask = lib.ones(3, 4)
        mask[0] = 0
        return [method.prune(t), method.prune(t, mask), method.prune(t, importance_scores=-t.exp())]

    agree(script)


def test_random_amounts():
    def script(lib):
        prune, one, two = lib.nn.utils.prune, layer(lib), layer(lib)
        prune.random_unstructured(one, "weight", 6)
        prune.random_structured(two, "weight", amount=2, dim=0)
        rows = two.weight_mask.sum(1).sort().values
        return [one.weight_mask.sum(), rows]

    agree(script)


def test_a_method_of_ones_own():
    def script(lib):
        class EveryOther(lib.nn.utils.prune.BasePruningMethod):
            PRUNING_TYPE = "unstructured"

            def compute_mask(self, t, default_mask):
                mask = default_mask.clone()
                mask.view(-1)[::2] = 0
                return mask

        module = layer(lib)
        EveryOther.apply(module, "weight")
        WAYS["l1 count"](lib.nn.utils.prune, module)
        return [state(module), module.weight]

    agree(script)
    agree(lambda lib: lib.nn.utils.prune.BasePruningMethod())


@pytest.mark.parametrize("way", ["l1 count", "ln", "l1 bias"])
def test_in_a_compiled_step(way):
    def script(lib):
        module = layer(lib)
        WAYS[way](lib.nn.utils.prune, module)
        return trained(lib, lib.nn.Sequential(module, lib.nn.Tanh()), lib.ones(2, 4))

    agree(script)


def test_state_is_loaded_and_copies_are_apart():
    module, target = layer(jtorch), jtorch.nn.utils.prune.identity(jtorch.nn.Linear(4, 5), "weight")
    WAYS["l1 count"](jtorch.nn.utils.prune, module)
    target.load_state_dict(module.state_dict())
    assert jtorch.equal(target.weight, module.weight)
    other = copy.deepcopy(module)
    other.weight_mask.zero_()
    assert not jtorch.equal(other.weight, module.weight)
    x = jtorch.ones(2, 4).jax()
    assert jax.numpy.allclose(jax.jit(module)(x), module(x))
