"""`state_dict` and `load_state_dict`. Most cases run in torch and in jtorch alike."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from nn.both import check, net, plain, scale

import jtorch


def changed(state, change):
    state = OrderedDict(state)
    change(state)
    return state


LOADS = {
    "all": lambda s: None,
    "missing": lambda s: s.pop("layers.0.weight"),
    "two missing": lambda s: (s.pop("layers.0.weight"), s.pop("scale.count")),
    "unexpected": lambda s: s.update({"extra": 1, "scale.extra": 2, "nowhere.extra": 3}),
    "both": lambda s: s.update(odd=s.pop("tied.bias")),
    "shape": lambda s: s.update({"tied.bias": s["scale.factor"][:1], "layers.0.weight": s["layers.1.weight"]}),
    "no tensor": lambda s: s.update({"tied.bias": 3}),
    "scalar": lambda s: s.update({"scale.count": s["scale.count"][0]}),
    "dtype": lambda s: s.update({"tied.bias": s["tied.bias"].double() + 1}),
    "off": lambda s: s.update({"gone.x": s["tied.bias"]}),
}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("load", LOADS)
def test_load_state_dict(load, strict, assign):
    def case(lib):
        source = net(lib)
        with lib.no_grad():
            for p in source.parameters():
                p += 1
        module = net(lib)
        keys = module.load_state_dict(changed(source.state_dict(), LOADS[load]), strict=strict, assign=assign)
        return repr(keys), keys.missing_keys, keys.unexpected_keys, list(module.named_parameters())

    check(case)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("load", ["missing", "unexpected", "shape", "no tensor"])
def test_failed_load_leaves_the_module_as_it_was(load, assign):
    module = net(jtorch)
    parameters, before = list(module.parameters()), plain(list(module.state_dict().items()))
    state = {name: value + 1 for name, value in module.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"Error\(s\) in loading state_dict for Net"):
        module.load_state_dict(changed(state, LOADS[load]), assign=assign)
    assert plain(list(module.state_dict().items())) == before
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))


@pytest.mark.parametrize("convert", [lambda t: t, lambda t: t.numpy(), lambda t: t.bfloat16()])
def test_loads_what_torch_saved(convert):
    module = net(jtorch)
    other = net(torch).double()
    with torch.no_grad():
        other.scale.factor += 1
    module.load_state_dict({name: convert(value) for name, value in other.state_dict().items()})
    assert np.asarray(module.scale.factor.detach()).tolist() == pytest.approx([1.0, 1.1], rel=1e-2)
    assert module.scale.factor.dtype == jtorch.float32


def test_state_dict_sees_later_updates():
    def case(lib):
        module = scale(lib)
        state = module.state_dict()
        with lib.no_grad():
            module.factor += 1
            module.count.add_(5)
        return list(state.items())

    check(case)


def test_extra_state():
    def case(lib):
        class Extra(lib.nn.Module):
            version = 3
            _version = 7

            def get_extra_state(self):
                return {"version": self.version}

            def set_extra_state(self, state):
                self.version = state["version"]

        source, module = Extra(), Extra()
        source.version = 5
        module.load_state_dict(source.state_dict())
        return (
            dict(source.state_dict()),
            dict(source.state_dict()._metadata),
            module.version,
            Extra().load_state_dict({}),
        )

    check(case)


def test_loading_can_be_overridden():
    def case(lib):
        class Renamed(lib.nn.Module):
            _version = 2

            def __init__(self):
                super().__init__()
                self.new = lib.nn.Parameter(lib.zeros(2))

            def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
                if local_metadata.get("version", 1) < 2:
                    state_dict[prefix + "new"] = state_dict.pop(prefix + "old")
                super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

        module = lib.nn.Sequential(Renamed())
        module.load_state_dict({"0.old": lib.ones(2)})
        return module[0].new, dict(module.state_dict()._metadata)

    check(case)


def test_state_dict_hooks():
    def case(lib):
        log, module = [], scale(lib)
        handles = [
            module.register_state_dict_pre_hook(lambda m, prefix, keep: log.append(("pre", prefix, keep))),
            module.register_state_dict_post_hook(lambda m, state, prefix, local: state.update({prefix + "more": 1})),
            module.register_load_state_dict_pre_hook(
                lambda m, state, *rest: log.append(("load", list(state), type(m).__name__))
            ),
            module.register_load_state_dict_post_hook(
                lambda m, keys: log.append((list(keys.missing_keys), keys.unexpected_keys))
            ),
        ]
        state = module.state_dict(prefix="p.")
        module.load_state_dict(module.state_dict(), strict=False)
        for handle in handles:
            handle.remove()
        return list(state), log, list(module.state_dict())

    check(case)
