"""Module: attributes, walking, conversion, repr, copies. Most cases run in torch and in jtorch alike.

What `state_dict` does is in `test_state_dict`, hooks are in `test_hooks`.
"""

import copy
import gc
import pickle
import weakref

import pytest
from nn.both import check, filled, net, plain, scale

import jtorch


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
        [a is b for a, b in zip(before, m.parameters(), strict=True)],
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
        field: "np.nothing.Nonsense | 3"  # noqa: F821

    assert Odd().training
