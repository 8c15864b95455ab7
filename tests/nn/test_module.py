"""Module: attributes, walking, conversion, state_dict, hooks, repr. Each case runs in torch and in jtorch alike."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest
import torch
from nn.both import check, filled, plain

import jtorch


def net(lib):
    """A module with everything: children, a buffer, one that is not saved, a tied weight, None of each kind."""
    nn = lib.nn

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(lib.ones(2))
            self.register_buffer("count", lib.zeros(1))
            self.register_buffer("cache", lib.zeros(2), persistent=False)
            self.register_buffer("nothing", None)
            self.register_parameter("none", None)
            self.plain = 4

        def forward(self, x, more=0.0):
            return x * self.factor + more

        def extra_repr(self):
            return "by=2"

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = Scale()
            self.layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
            self.again = self.scale
            self.off = None
            self.add_module("gone", None)
            self.loose = [nn.Linear(1, 1)]
            self.tied = nn.Linear(3, 2)
            self.tied.weight = self.layers[1].weight

        def forward(self, x):
            return self.scale(self.layers(x))

    return filled(Net())


def scale(lib):
    return net(lib).scale


def uncalled(lib):
    class Uncalled(lib.nn.Module):
        def __init__(self):
            pass

    return Uncalled()


VALUES = {
    "parameter": lambda lib: lib.nn.Parameter(lib.ones(1)),
    "tensor": lambda lib: lib.ones(1),
    "buffer": lambda lib: lib.nn.Buffer(lib.ones(1)),
    "module": lambda lib: lib.nn.Identity(),
    "none": lambda lib: None,
    "number": lambda lib: 3,
}
NAMES = ["factor", "count", "cache", "child", "plain", "new", "forward"]


def registered(module):
    kinds = ("_parameters", "_buffers", "_modules")
    found = {kind: [(k, v is None) for k, v in getattr(module, kind).items()] for kind in kinds}
    return found, sorted(module._non_persistent_buffers_set), list(module.state_dict())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", VALUES)
def test_setting_an_attribute(name, value):
    def case(lib):
        module = scale(lib)
        module.child = lib.nn.Identity()
        setattr(module, name, VALUES[value](lib))
        return registered(module)

    check(case)


@pytest.mark.parametrize("name", ["factor", "count", "cache", "child", "plain", "absent"])
def test_deleting_an_attribute(name):
    def case(lib):
        module = scale(lib)
        module.child = lib.nn.Identity()
        delattr(module, name)
        return registered(module), hasattr(module, name)

    check(case)


@pytest.mark.parametrize("name", ["factor", "count", "child", "plain", "new", "a.b", "", 3])
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("how", ["register_parameter", "register_buffer", "register_module", "add_module"])
def test_registering(how, name, value):
    def case(lib):
        module = scale(lib)
        module.child = lib.nn.Identity()
        getattr(module, how)(name, VALUES[value](lib))
        return registered(module)

    check(case)


@pytest.mark.parametrize("value", ["parameter", "buffer", "module", "tensor", "number"])
def test_before_init(value):
    check(lambda lib: setattr(uncalled(lib), "x", VALUES[value](lib)))


@pytest.mark.parametrize(
    "case",
    [
        lambda lib: uncalled(lib).register_buffer("x", lib.ones(1)),
        lambda lib: uncalled(lib).register_parameter("x", None),
        lambda lib: uncalled(lib).missing,
        lambda lib: scale(lib).missing,
        lambda lib: lib.nn.Module()(1),
        lambda lib: lib.nn.Module(1),
        lambda lib: lib.nn.Module(1, a=2),
        lambda lib: net(lib).train("yes"),
        lambda lib: net(lib).to(lib.int32),
        lambda lib: net(lib).load_state_dict(3),
        lambda lib: lib.nn.Parameter(lib.ones(2, dtype=lib.int32)),
        lambda lib: lib.nn.Parameter(lib.ones(2, dtype=lib.int32), requires_grad=False),
        lambda lib: lib.nn.Parameter(),
        lambda lib: lib.nn.Parameter(lib.ones(2, requires_grad=True) * 2).is_leaf,
        lambda lib: repr(lib.nn.Parameter(lib.ones(2))),
        lambda lib: str(lib.nn.Parameter(lib.ones(2), False)),
        lambda lib: repr(lib.nn.Buffer(lib.ones(2))),
        lambda lib: (lib.nn.Buffer(lib.ones(2), persistent=False).persistent, lib.nn.Buffer(lib.ones(2)).persistent),
        lambda lib: isinstance(lib.nn.Parameter(lib.ones(1)), lib.Tensor),
        lambda lib: hasattr(lib.nn.Parameter(lib.ones(1)), "nonsense"),
    ],
)
def test_messages(case):
    check(case)


WALKS = {
    "named_children": lambda m: [(n, c) for n, c in m.named_children()],
    "children": lambda m: len(list(m.children())),
    "named_modules": lambda m: [n for n, _ in m.named_modules()],
    "duplicates": lambda m: [n for n, _ in m.named_modules(remove_duplicate=False)],
    "prefix": lambda m: [n for n, _ in m.named_modules(prefix="p")],
    "modules": lambda m: [type(x).__name__ for x in m.modules()],
    "named_parameters": lambda m: [(n, p) for n, p in m.named_parameters()],
    "tied": lambda m: [n for n, _ in m.named_parameters(remove_duplicate=False)],
    "own": lambda m: [n for n, _ in m.scale.named_parameters(prefix="p", recurse=False)],
    "parameters": lambda m: list(m.parameters()),
    "own parameters": lambda m: list(m.parameters(recurse=False)),
    "named_buffers": lambda m: [(n, b) for n, b in m.named_buffers()],
    "buffers": lambda m: list(m.buffers()),
    "repr": repr,
    "str": str,
    "dir": lambda m: {n for n in dir(m) if n in ("scale", "off", "gone", "loose", "training")},
    "get_name": lambda m: m._get_name(),
    "train": lambda m: [x.training for x in m.eval().modules()] + [x.training for x in m.train().modules()],
    "train returns": lambda m: m.train() is m and m.eval() is m and m.requires_grad_(False) is m,
    "requires_grad_": lambda m: [p.requires_grad for p in m.requires_grad_(False).parameters()],
    "apply": lambda m: (seen := [], m.apply(lambda x: seen.append(type(x).__name__)), seen)[-1],
    "state_dict": lambda m: list(m.state_dict().items()),
    "prefixed": lambda m: list(m.state_dict(prefix="p.")),
    "metadata": lambda m: (type(m.state_dict()).__name__, dict(m.state_dict()._metadata)),
    "destination": lambda m: (d := {"x": 1}, m.state_dict(destination=d), list(d))[-1],
    "keep_vars": lambda m: m.state_dict(keep_vars=True)["scale.factor"] is m.scale.factor,
    "detached": lambda m: m.state_dict()["scale.factor"].requires_grad,
    "double": lambda m: [str(t.dtype) for t in m.double().state_dict().values()],
    "half": lambda m: [str(t.dtype) for t in m.half().state_dict().values()],
    "bfloat16": lambda m: [str(t.dtype) for t in m.bfloat16().float().state_dict().values()],
    "same parameters": lambda m: (
        before := list(m.parameters()),
        m.double(),
        [a is b for a, b in zip(before, m.parameters())],
    )[-1],
    "cpu": lambda m: m.cpu().scale.factor,
    "share_memory": lambda m: m.share_memory() is m,
}


@pytest.mark.parametrize("walk", WALKS)
def test_walking(walk):
    check(lambda lib: WALKS[walk](net(lib)))


TARGETS = [
    "",
    "scale",
    "layers.0",
    "layers.5",
    "layers.0.weight",
    "scale.count",
    "plain",
    "absent.x",
    "layers..0",
    "scale.plain",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", ["submodule", "parameter", "buffer"])
def test_get(what, target):
    check(lambda lib: getattr(net(lib), f"get_{what}")(target))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("target", [*TARGETS, "fresh", "layers.fresh"])
def test_set_submodule(target, strict):
    def case(lib):
        module = net(lib)
        module.set_submodule(target, lib.nn.Identity(), strict)
        return module

    check(case)


@pytest.mark.parametrize("how", ["dtype", "tensor", "keyword", "device", "type", "nothing"])
def test_to(how):
    def case(lib):
        module = net(lib)
        module.register_buffer("whole", lib.ones(2, dtype=lib.int32))
        module.scale.factor.grad = lib.ones(2)
        moved = {
            "dtype": lambda: module.to(lib.float64),
            "tensor": lambda: module.to(lib.ones(1, dtype=lib.float64)),
            "keyword": lambda: module.to(dtype=lib.float16, device="cpu", non_blocking=True),
            "device": lambda: module.to("cpu"),
            "type": lambda: module.type(lib.float64),
            "nothing": lambda: module.to(),
        }[how]()
        return moved is module, list(module.state_dict().items()), module.scale.factor.grad

    check(case)


def test_to_empty_keeps_shapes():
    module = net(jtorch)
    shapes = [p.shape for p in module.parameters()]
    assert [p.shape for p in module.to_empty(device="cpu").parameters()] == shapes


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none):
    def case(lib):
        module = scale(lib)
        module(lib.ones(2)).sum().backward()
        before = module.factor.grad
        module.zero_grad(to_none)
        return before, module.factor.grad

    if not to_none:
        case_of, case = case, lambda lib: case_of(lib)[1]
    check(case)


# state_dict


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


# hooks


def two_outputs(lib):
    class Two(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = lib.nn.Parameter(lib.ones(2))

        def forward(self, x, y=None, k=1.0):
            return x * 2 * k * self.w, (x + y if y is not None else x)

    return Two()


def test_forward_hooks():
    def case(lib):
        log, module = [], scale(lib)

        def pre(m, args):
            log.append(("pre", args))
            return args[0] * 2

        def pre_with(m, args, kwargs):
            log.append(("pre_with", args, kwargs))
            return args, {"more": 5.0}

        def post(m, args, out):
            log.append(("post", args, out))
            return out + 1

        handles = [
            module.register_forward_pre_hook(pre),
            module.register_forward_pre_hook(pre_with, with_kwargs=True, prepend=True),
            module.register_forward_hook(post),
            module.register_forward_hook(lambda m, a, k, o: log.append(("with", k, o)), with_kwargs=True, prepend=True),
        ]
        first = module(lib.ones(2))
        for handle in handles:
            handle.remove()
        return (
            first,
            plain(log),
            module(lib.ones(2)),
            len(module._forward_hooks),
            len(module._forward_hooks_with_kwargs),
        )

    check(case)


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("fails", ["forward", "hook", "nothing"])
def test_hooks_that_are_always_called(fails, always):
    def case(lib):
        log = []

        class Fails(lib.nn.Module):
            def forward(self, x):
                if fails == "forward":
                    raise ValueError("no")
                return x

        module = Fails()
        module.register_forward_hook(lambda m, a, o: log.append(o), always_call=always)
        if fails == "hook":
            module.register_forward_hook(lambda m, a, o: 1 / 0, always_call=always)
        try:
            return module(1), log
        except (ValueError, ZeroDivisionError) as error:
            return repr(error), log

    check(case)


def test_pre_hook_must_return_both():
    def case(lib):
        module = scale(lib)
        module.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
        module(lib.ones(2))

    check(case)


ARGUMENTS = {
    "both": (lambda r, t: ((r, r), {}), (0, 1)),
    "one wants": (lambda r, t: ((r, t), {}), (0, 1)),
    "number": (lambda r, t: ((r, 3.0), {}), (0, 1)),
    "keyword": (lambda r, t: ((r,), {"y": t}), (0, 1)),
    "none wants": (lambda r, t: ((t, t), {}), (0,)),
    "one output": (lambda r, t: ((r, t), {}), (0,)),
    "other output": (lambda r, t: ((t, r), {}), (1,)),
}


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_backward_hooks(arguments):
    make, outs = ARGUMENTS[arguments]

    def case(lib):
        log, module = [], two_outputs(lib)
        module.register_full_backward_pre_hook(lambda m, out: log.append(("pre", out)))
        module.register_full_backward_hook(lambda m, into, out: log.append(("post", into, out)))
        wants = lib.ones(2, requires_grad=True)
        args, kwargs = make(wants, lib.ones(2))
        result = module(*args, **kwargs)
        sum(result[i].sum() for i in outs).backward()
        return log, wants.grad, module.w.grad

    check(case)


@pytest.mark.parametrize(
    "hook",
    [
        lambda m, into, out: tuple(None if g is None else g * 10 for g in into),
        lambda m, into, out: into[0] * 10,
        lambda m, into, out: (1, 2, 3),
    ],
)
def test_backward_hooks_that_replace(hook):
    def case(lib):
        module, x = scale(lib), lib.ones(2, requires_grad=True)
        module.register_full_backward_pre_hook(lambda m, out: (out[0] * 3,))
        module.register_full_backward_hook(hook)
        module(x).sum().backward()
        return x.grad, module.factor.grad

    check(case)


@pytest.mark.parametrize("kind", [dict, list])
def test_backward_hooks_need_tensors(kind):
    def case(lib):
        log = []

        class Odd(lib.nn.Module):
            def forward(self, x):
                return {"a": x * 2} if kind is dict else [x * 2]

        module, x = Odd(), lib.ones(2, requires_grad=True)
        module.register_full_backward_hook(lambda *a: log.append(a))
        (value,) = module(x).values() if kind is dict else module(x)
        value.sum().backward()
        return log, x.grad

    check(case)


def test_global_hooks():
    def case(lib):
        log, shared = [], lib.nn.modules.module if lib is torch else jtorch.nn.hooks
        module, x = scale(lib), lib.ones(2, requires_grad=True)
        handles = [
            shared.register_module_forward_pre_hook(lambda m, a: log.append(("pre", a))),
            shared.register_module_forward_hook(lambda m, a, o: log.append(("post", o))),
            shared.register_module_full_backward_pre_hook(lambda m, o: log.append(("back pre", o))),
            shared.register_module_full_backward_hook(lambda m, i, o: log.append(("back", i, o))),
            shared.register_module_parameter_registration_hook(lambda m, n, p: log.append(n)),
            shared.register_module_buffer_registration_hook(lambda m, n, b: log.append(n)),
            shared.register_module_module_registration_hook(lambda m, n, c: log.append(n)),
        ]
        try:
            module(x).sum().backward()
            scale(lib).add_module("child", lib.nn.Identity())
        finally:
            for handle in handles:
                handle.remove()
        module(x)
        return log

    check(case)


# copies and identity


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies(duplicate):
    module = jtorch.nn.Sequential(filled(jtorch.nn.Linear(2, 2)), jtorch.nn.Linear(2, 2), jtorch.nn.Dropout(0.5))
    module[1].weight = module[0].weight
    module[0].bias.requires_grad_(False)
    module.eval()
    other = duplicate(module)
    assert plain(list(other.state_dict().items())) == plain(list(module.state_dict().items()))
    assert other[1].weight is other[0].weight is not module[0].weight
    assert not other[0].bias.requires_grad and not other.training
    other.train().extra = 3
    with jtorch.no_grad():
        other[0].weight += 1
    assert module[0].weight[0, 0] == 0 and not hasattr(module, "extra")


def test_deepcopy_of_a_parameter_drops_its_gradient():
    def case(lib):
        p = lib.nn.Parameter(lib.ones(2), requires_grad=False)
        p.grad = lib.ones(2)
        p.note = 1
        q = copy.deepcopy(p)
        return q.grad, hasattr(q, "note"), type(q) is lib.nn.Parameter, q.requires_grad

    check(case)


def test_parameters_are_keys():
    p, q = jtorch.nn.Parameter(jtorch.ones(2)), jtorch.nn.Parameter(jtorch.ones(2))
    assert {p: 1}[p] == 1 and q not in {p: 1} and len({p, q, p}) == 2
    assert (p == q).all() and isinstance(p == q, jtorch.Tensor)
    p.anything = "goes"
    assert p.anything == "goes" and not callable(getattr(p, "__jax_array__", None))


def test_parameter_shares_memory_with_its_data():
    def case(lib):
        data = lib.zeros(2)
        p, module = lib.nn.Parameter(data), lib.nn.Module()
        buffer = lib.zeros(2)
        module.register_buffer("b", buffer)
        data.add_(1)
        module.b.add_(2)
        with lib.no_grad():
            p.mul_(3)
        return p, data, buffer, module.b

    check(case)


def test_buffer_of_another_module_is_a_plain_attribute():
    def case(lib):
        module, other = scale(lib), lib.nn.Module()
        other.seen = module.count
        other.kept = lib.nn.Buffer(lib.ones(1))
        other.loose = lib.nn.Buffer(lib.ones(1), persistent=False)
        module.count.add_(1)
        return registered(other), other.seen, list(other.state_dict())

    check(case)


def test_buffer_keeps_its_graph():
    def case(lib):
        module, x = scale(lib), lib.ones(2, requires_grad=True)
        module.cache = x * 3
        (module.cache * 2).sum().backward()
        return x.grad, module.cache, registered(module)

    check(case)


def test_names_that_nnx_uses_are_free():
    module = jtorch.nn.Module()
    module.perturb = jtorch.nn.Identity()
    module.register_buffer("sow", jtorch.ones(1))
    assert isinstance(module.perturb, jtorch.nn.Identity) and list(module.state_dict()) == ["sow"]


def test_unused_modules_are_freed():
    module = net(jtorch)
    gone = weakref.ref(module.scale.factor)
    module.apply(lambda m: None)
    del module
    gc.collect()
    assert gone() is None


def test_init_of_a_second_base():
    def case(lib):
        class Mixin:
            def __init__(self, size=3):
                self.size = size

        class Without(lib.nn.Module, Mixin):
            pass

        class With(lib.nn.Module, Mixin):
            call_super_init = True

        return hasattr(Without(), "size"), With(size=4).size, With().training

    check(case)


def test_annotations_that_cannot_be_resolved():
    class Odd(jtorch.nn.Module):
        field: "np.nothing.Nonsense | 3"

    assert Odd().training
