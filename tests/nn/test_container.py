"""Containers: each method of torch's, in torch and in jtorch alike."""

import copy
import itertools
import operator
import pickle
from collections import OrderedDict

import pytest
from nn.both import check, plain

import jtorch


def layers(lib, *kinds):
    nn = lib.nn
    made = {"linear": lambda: nn.Linear(2, 3), "id": nn.Identity, "flat": nn.Flatten, "back": lambda: nn.Linear(3, 2)}
    return [made[kind]() for kind in kinds]


def sequential(lib):
    return lib.nn.Sequential(*layers(lib, "linear", "id", "back"))


def named(lib):
    return lib.nn.Sequential(OrderedDict(zip("abc", layers(lib, "linear", "id", "back"), strict=True)))


def module_list(lib):
    return lib.nn.ModuleList(layers(lib, "linear", "id", "back"))


def module_dict(lib):
    return lib.nn.ModuleDict(dict(zip("bac", layers(lib, "linear", "id", "back"), strict=True)))


def parameter(lib, *shape):
    return lib.nn.Parameter(lib.ones(shape))


def parameter_list(lib):
    return lib.nn.ParameterList([parameter(lib, 2), lib.zeros(2, 3), "text", 3, None, parameter(lib)])


def parameter_dict(lib):
    return lib.nn.ParameterDict({"b": parameter(lib, 2), "a": lib.zeros(1), "n": 4})


def new(lib):
    return layers(lib, "flat")[0]


def times(module, factor):
    module *= factor
    return module


def plus(module, other):
    module += other
    return module


INDICES = [0, 1, -1, 3, -4, "0", 1.5, True, slice(0, 2), slice(None, None, -1), slice(5, 9)]
INDEXED = {
    "get": lambda lib, m, i: m[i],
    "set": lambda lib, m, i: m.__setitem__(i, new(lib)),
    "delete": lambda lib, m, i: m.__delitem__(i),
    "pop": lambda lib, m, i: m.pop(i),
}


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("do", INDEXED)
@pytest.mark.parametrize("make", [sequential, named, module_list])
def test_places(make, do, index):
    def case(lib):
        module = make(lib)
        result = INDEXED[do](lib, module, index)
        return result, module, list(module._modules), len(module)

    check(case)


SEQUENTIAL = {
    "append": lambda lib, m: m.append(new(lib)) is m,
    "append number": lambda lib, m: m.append(3),
    "insert": lambda lib, m: m.insert(1, new(lib)) is m,
    "insert last": lambda lib, m: m.insert(3, new(lib)),
    "insert -1": lambda lib, m: m.insert(-1, new(lib)),
    "insert 9": lambda lib, m: m.insert(9, new(lib)),
    "insert number": lambda lib, m: m.insert(0, 3),
    "extend": lambda lib, m: m.extend([new(lib), new(lib)]) is m,
    "extend itself": lambda lib, m: m.extend(sequential(lib)),
    "extend number": lambda lib, m: m.extend(3),
    "add": lambda lib, m: m + sequential(lib),
    "add number": lambda lib, m: m + 3,
    "iadd": lambda lib, m: plus(m, sequential(lib)),
    "iadd list": lambda lib, m: plus(m, [new(lib)]),
    "mul": lambda lib, m: (m * 2, (m * 2)[0] is (m * 2)[3]),
    "rmul": lambda lib, m: 2 * m,
    "mul zero": lambda lib, m: m * 0,
    "mul text": lambda lib, m: m * "a",
    "imul": lambda lib, m: times(m, 3),
    "imul zero": lambda lib, m: times(m, 0),
    "iterate": lambda lib, m: list(m),
    "keys": lambda lib, m: list(m.state_dict()),
    "dir": lambda lib, m: [n for n in dir(m) if n.isdigit()],
    "call": lambda lib, m: m(lib.ones(1, 2)).shape,
    "call with two": lambda lib, m: m(lib.ones(1, 2), 3),
    "empty call": lambda lib, m: lib.nn.Sequential()(1),
    "of a number": lambda lib, m: lib.nn.Sequential(3),
    "of a dict": lambda lib, m: lib.nn.Sequential({"a": new(lib)}),
    "empty": lambda lib, m: lib.nn.Sequential(),
    "nested": lambda lib, m: lib.nn.Sequential(m, lib.nn.Sequential(lib.nn.Sequential(), new(lib))),
    "of subclass": lambda lib, m: type("Mine", (lib.nn.Sequential,), {})(new(lib))[0:1],
    "bool": lambda lib, m: (bool(m), bool(lib.nn.Sequential())),
}


FAILS_HALF_WAY_IN_TORCH = {(named, "insert"), (named, "insert -1"), (named, "imul")}


@pytest.mark.parametrize(
    ("make", "method"),
    [c for c in itertools.product([sequential, named], SEQUENTIAL) if c not in FAILS_HALF_WAY_IN_TORCH],
)
def test_sequential(make, method):
    def case(lib):
        module = make(lib)
        return SEQUENTIAL[method](lib, module), module, list(module._modules)

    check(case)


def test_failed_insert_changes_nothing():
    module = named(jtorch)
    with pytest.raises(KeyError):
        module.insert(0, new(jtorch))
    assert list(module._modules) == ["a", "b", "c"]


LIST = {
    "append": lambda lib, m: m.append(new(lib)) is m,
    "append number": lambda lib, m: m.append(3),
    "extend": lambda lib, m: m.extend(module_list(lib)) is m,
    "extend itself": lambda lib, m: m.extend(list(m)),
    "extend number": lambda lib, m: m.extend(3),
    "extend module": lambda lib, m: m.extend(new(lib)),
    "add": lambda lib, m: m.__add__([new(lib)]),
    "add number": lambda lib, m: m + 3,
    "iadd": lambda lib, m: plus(m, [new(lib)]),
    "insert": lambda lib, m: m.insert(1, new(lib)),
    "insert last": lambda lib, m: m.insert(3, new(lib)),
    "iterate": lambda lib, m: [list(m), list(reversed(m)), new(lib) in m, m[0] in m],
    "call": lambda lib, m: m(1),
    "of a number": lambda lib, m: lib.nn.ModuleList(3),
    "of numbers": lambda lib, m: lib.nn.ModuleList([1]),
    "of a generator": lambda lib, m: lib.nn.ModuleList(new(lib) for _ in range(12)),
    "empty": lambda lib, m: lib.nn.ModuleList(),
    "groups": lambda lib, m: lib.nn.ModuleList(layers(lib, "id", "linear", "linear", "id", "id", "id")),
    "nested": lambda lib, m: lib.nn.ModuleList([lib.nn.ModuleList(layers(lib, "linear") * 2)] * 3),
    "keys": lambda lib, m: list(m.state_dict()),
    "dir": lambda lib, m: [n for n in dir(m) if n.isdigit()],
}


@pytest.mark.parametrize("method", LIST)
def test_module_list(method):
    def case(lib):
        module = module_list(lib)
        return LIST[method](lib, module), module, list(module._modules)

    check(case)


@pytest.mark.parametrize(("index", "place"), [(-1, 2), (99, 3), (-9, 0)])
def test_module_list_insert_is_that_of_list(index, place):
    module, child = module_list(jtorch), new(jtorch)
    module.insert(index, child)
    assert module[place] is child and list(module._modules) == ["0", "1", "2", "3"]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        module.insert(0, 3)
    assert len(module) == 4


DICT = {
    "get": lambda lib, m: m["a"],
    "get missing": lambda lib, m: m["zz"],
    "set": lambda lib, m: m.__setitem__("a", new(lib)),
    "set new": lambda lib, m: m.__setitem__("new", new(lib)),
    "set number": lambda lib, m: m.__setitem__("a", 3),
    "set dotted": lambda lib, m: m.__setitem__("x.y", new(lib)),
    "set taken": lambda lib, m: m.__setitem__("keys", new(lib)),
    "delete": lambda lib, m: m.__delitem__("a"),
    "delete missing": lambda lib, m: m.__delitem__("zz"),
    "pop": lambda lib, m: m.pop("b"),
    "pop missing": lambda lib, m: m.pop("zz"),
    "clear": lambda lib, m: m.clear(),
    "views": lambda lib, m: [m.keys(), m.values(), list(m.items()), list(m), len(m), "a" in m, "zz" in m],
    "update": lambda lib, m: m.update({"k": new(lib), "a": new(lib)}),
    "update pairs": lambda lib, m: m.update([("x", new(lib)), ["y", new(lib)]]),
    "update itself": lambda lib, m: m.update(module_dict(lib)),
    "update number": lambda lib, m: m.update(3),
    "update numbers": lambda lib, m: m.update([3]),
    "update short": lambda lib, m: m.update([("a",)]),
    "update odd key": lambda lib, m: m.update([(1, new(lib))]),
    "call": lambda lib, m: m(1),
    "of pairs": lambda lib, m: lib.nn.ModuleDict([("q", new(lib))]),
    "of a number": lambda lib, m: lib.nn.ModuleDict(3),
    "empty": lambda lib, m: lib.nn.ModuleDict(),
}


@pytest.mark.parametrize("method", DICT)
def test_module_dict(method):
    def case(lib):
        module = module_dict(lib)
        return DICT[method](lib, module), module, list(module._modules)

    check(case)


PARAMETER_LIST = {
    "get": lambda lib, m: [m[0], m[-1], m[2], m[0:2], type(m[1]).__name__],
    "get 9": lambda lib, m: m[9],
    "get text": lambda lib, m: m["0"],
    "append": lambda lib, m: m.append(parameter(lib, 3)) is m,
    "append tensor": lambda lib, m: m.append(lib.ones(3)),
    "append number": lambda lib, m: m.append(5),
    "extend": lambda lib, m: m.extend([parameter(lib, 1), 4]) is m,
    "extend number": lambda lib, m: m.extend(3),
    "extend parameter": lambda lib, m: m.extend(parameter(lib, 3)),
    "iadd": lambda lib, m: plus(m, [4]),
    "add": lambda lib, m: operator.add(m, [1]),
    "set": lambda lib, m: m.__setitem__(0, parameter(lib, 5)),
    "set tensor": lambda lib, m: m.__setitem__(-1, lib.ones(3)),
    "set 99": lambda lib, m: m.__setitem__(99, 3),
    "set slice": lambda lib, m: m.__setitem__(slice(0, 1), [3]),
    "call": lambda lib, m: m(1),
    "iterate": lambda lib, m: list(m),
    "of a tensor": lambda lib, m: lib.nn.ParameterList(lib.ones(2, 2)),
    "of a number": lambda lib, m: lib.nn.ParameterList(3),
    "of one": lambda lib, m: lib.nn.ParameterList([parameter(lib, 2)]),
    "of a module": lambda lib, m: lib.nn.ParameterList([new(lib)]),
    "empty": lambda lib, m: lib.nn.ParameterList(),
    "keys": lambda lib, m: list(m.state_dict()),
}


@pytest.mark.parametrize("method", PARAMETER_LIST)
def test_parameter_list(method):
    def case(lib):
        module = parameter_list(lib)
        return PARAMETER_LIST[method](lib, module), module, list(module._parameters), len(module)

    check(case)


PARAMETER_DICT = {
    "get": lambda lib, m: [m["a"], m["n"], m.get("zz"), m.get("zz", 7), type(m["a"]).__name__],
    "get missing": lambda lib, m: m["zz"],
    "get number": lambda lib, m: m[1],
    "set": lambda lib, m: m.__setitem__("a", parameter(lib, 5)),
    "set tensor": lambda lib, m: m.__setitem__("new", lib.ones(5)),
    "delete": lambda lib, m: m.__delitem__("a"),
    "delete missing": lambda lib, m: m.__delitem__("zz"),
    "pop": lambda lib, m: m.pop("b"),
    "pop missing": lambda lib, m: m.pop("zz"),
    "popitem": lambda lib, m: m.popitem(),
    "setdefault": lambda lib, m: [m.setdefault("q"), m.setdefault("r", lib.ones(1)), m.setdefault("a", 3)],
    "fromkeys": lambda lib, m: m.fromkeys(["x", "y"], lib.ones(1)),
    "reversed": lambda lib, m: list(reversed(m)),
    "or": lambda lib, m: m | {"k": parameter(lib, 1)},
    "or number": lambda lib, m: m | 3,
    "ror": lambda lib, m: {"k": parameter(lib, 1)} | m,
    "ior": lambda lib, m: m.__ior__({"k": 2}) is m,
    "copy": lambda lib, m: [m.copy(), m.copy()["a"] is m["a"]],
    "update": lambda lib, m: m.update({"u": 1, "t": 2}),
    "update ordered": lambda lib, m: m.update(OrderedDict([("u", 1), ("t", 2)])),
    "update pairs": lambda lib, m: m.update([("w", parameter(lib, 1)), ("v", 3)]),
    "update itself": lambda lib, m: m.update(lib.nn.ParameterDict({"z": lib.ones(1)})),
    "update number": lambda lib, m: m.update(3),
    "update numbers": lambda lib, m: m.update([3]),
    "update short": lambda lib, m: m.update([("a",)]),
    "views": lambda lib, m: [m.keys(), list(m.values()), list(m.items()), list(m), len(m), "a" in m],
    "clear": lambda lib, m: m.clear(),
    "call": lambda lib, m: m(1),
    "of pairs": lambda lib, m: lib.nn.ParameterDict([("q", lib.ones(2, dtype=lib.float64))]),
    "of itself": lambda lib, m: lib.nn.ParameterDict(m),
    "of a number": lambda lib, m: lib.nn.ParameterDict(3),
    "of a module": lambda lib, m: lib.nn.ParameterDict({"x": new(lib), "i": parameter(lib)}),
    "empty": lambda lib, m: lib.nn.ParameterDict(),
    "keys": lambda lib, m: list(m.state_dict()),
}


@pytest.mark.parametrize("method", PARAMETER_DICT)
def test_parameter_dict(method):
    def case(lib):
        module = parameter_dict(lib)
        return PARAMETER_DICT[method](lib, module), module, list(module._parameters), list(module)

    check(case)


@pytest.mark.parametrize(("key", "error"), [(1, TypeError), ("x.y", KeyError), ("keys", KeyError)])
def test_parameter_dict_refuses_a_key_and_is_as_before(key, error):
    module = parameter_dict(jtorch)
    with pytest.raises(error):
        module[key] = parameter(jtorch, 1)
    assert list(module) == ["a", "b", "n"]


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("make", [sequential, named, module_list, module_dict, parameter_list, parameter_dict])
def test_copies(make, duplicate):
    module = make(jtorch)
    other = duplicate(module)
    assert repr(other) == repr(module) and plain(list(other.state_dict().items())) == plain(
        list(module.state_dict().items())
    )
    assert all(a is not b for a, b in zip(other.parameters(), module.parameters(), strict=True))
