"""How Flax NNX sees a module: the graph-node protocol that `nnx.split`, `merge`, `jit` and `grad` work by.

Parameters, buffers and children are shown as children by name, arrays and tensors among the plain attributes as
leaves, and other attributes as static. What that flat view does not say (order, kinds, hooks) goes into one static
record. These are Flax's semi-private names; they are used nowhere else but in `module` and `parameter`.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from flax.nnx import reprlib, visualization
from flax.nnx.pytreelib import PytreeState

from jtorch._capture import epoch
from jtorch._tensor import Tensor, from_array

REGISTRIES = ("_parameters", "_buffers", "_modules")
HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
INTERNAL = frozenset(
    (*REGISTRIES, *HOOKS, "_non_persistent_buffers_set", "_compiled", "_pytree__state", "_pytree__nodes")
)
_FRAME = "_frame"


class _Static:
    """A value that is no data to NNX, compared by `key`."""

    __slots__ = ("value", "key")

    def __init__(self, value: Any, key: Any):
        self.value = value
        self.key = key

    def __eq__(self, other):
        return type(other) is _Static and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    def __repr__(self):
        return repr(self.value)


def _frame(attributes: dict, tensors: dict[str, bool]) -> _Static:
    """The record of one module: its names in order, which plain attributes are tensors, and its hooks."""
    names = {kind: tuple(attributes.get(kind, ())) for kind in REGISTRIES}
    loose = frozenset(attributes.get("_non_persistent_buffers_set", ()))
    hooks = {kind: tuple(attributes[kind].items()) for kind in HOOKS if attributes.get(kind)}
    hook_key = tuple((kind, tuple((n, id(hook)) for n, hook in items)) for kind, items in hooks.items())
    key = (tuple(names.values()), loose, tuple(tensors.items()), hook_key)
    return _Static((names, loose, tensors, hooks), key)


CONTAINERS = (list, dict, set)
"""The kinds of attribute whose content may change while they stay the same object."""


def recorded(value: Any) -> Any:
    """What an attribute is at this moment, to be compared with `==`.

    Numbers, texts and what is in lists, tuples, dictionaries and sets count by value, all else by identity.
    """
    kind = type(value)
    if kind in _SCALARS:
        return kind, value
    if kind in (list, tuple):
        return kind, [recorded(x) for x in value]
    if kind is dict:
        return kind, [(k, recorded(x)) for k, x in value.items()]
    return (kind, frozenset(value)) if kind is set else _Same(value)


_SCALARS = frozenset((bool, int, float, complex, str, bytes, type(None)))
_DATA = object()


def _frozen(value: Any) -> Any:
    """Lists, dictionaries and sets as hashable records of what is in them now; `_DATA` where arrays or modules are."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind in (list, tuple):
        parts = [_frozen(x) for x in value]
    elif kind is dict:
        parts = [(k, _frozen(x)) for k, x in value.items()]
    elif kind in (set, frozenset):
        return _Frozen(kind, frozenset(value))
    elif isinstance(value, jax.Array | np.ndarray | nnx.Variable) or nnx.graphlib.is_node(value):
        return _DATA
    else:
        return _compared(value)
    has_data = any((part[1] if kind is dict else part) is _DATA for part in parts)
    return _DATA if has_data else _Frozen(kind, tuple(parts))


def _compared(value: Any) -> Any:
    """An object to be compared as it compares itself, or by identity where it cannot be hashed."""
    try:
        hash(value)
    except TypeError:
        return _Static(value, id(value))
    return value


class _Frozen(NamedTuple):
    kind: type
    parts: Any


def _thawed(value: Any) -> Any:
    """What `_frozen` was given, made anew."""
    if isinstance(value, _Static):
        return value.value
    if not isinstance(value, _Frozen):
        return value
    if value.kind is dict:
        return {k: _thawed(x) for k, x in value.parts}
    return value.kind(value.parts if value.kind in (set, frozenset) else map(_thawed, value.parts))


def _shown(value: Any) -> Any:
    """A plain attribute as NNX is to take it."""
    frozen = _frozen(value)
    return value if frozen is _DATA else nnx.graphlib.StaticElem(frozen)


class _Same:
    """An object compared by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other):
        return type(other) is _Same and self.value is other.value

    def __hash__(self):
        return id(self.value)


def formed(value: Any) -> Any:
    """`recorded`, with tensors by their form."""
    if isinstance(value, Tensor):
        edge = value._edge()
        return Tensor, value.shape, value.dtype, edge is None, value._node is None
    if type(value) in (list, tuple):
        return type(value), [formed(x) for x in value]
    if type(value) is dict:
        return dict, [(k, formed(x)) for k, x in value.items()]
    return recorded(value)


class GraphNode:
    """The part of Module that NNX calls."""

    _pytree__state: PytreeState

    def _signature(self, slots: Collection[str] = ()) -> list:
        """All that a program made of this module's forward depends on, its children apart; to be compared with `==`.

        Attributes count as in `recorded`, but of those in `slots` what counts of tensors is their shapes and dtypes.
        """
        found: list = []
        for name, value in vars(self).items():
            if name in REGISTRIES or name in HOOKS:
                found += [(name, key, formed(inner) if key in slots else _Same(inner)) for key, inner in value.items()]
            elif name not in INTERNAL:
                found.append((name, formed(value) if name in slots else recorded(value)))
        return found

    def _nnx_members(self) -> dict[str, Any]:
        """What NNX's displays show: parameters, buffers and children, then public attributes."""
        own = vars(self)
        registered = {name: value for kind in REGISTRIES for name, value in own.get(kind, {}).items()}
        return registered | {n: v for n, v in own.items() if not n.startswith("_")}

    def __nnx_repr__(self) -> Iterator[Any]:
        yield reprlib.Object(type(self))
        yield from (reprlib.Attr(name, value) for name, value in self._nnx_members().items())

    def __treescope_repr__(self, path: Any, subtree_renderer: Any) -> Any:
        return visualization.render_object_constructor(
            object_type=type(self), attributes=self._nnx_members(), path=path, subtree_renderer=subtree_renderer
        )

    def _graph_node_flatten(self) -> tuple[list, type]:
        attributes = vars(self)
        items: dict[str, Any] = {}
        tensors: dict[str, bool] = {}
        members = [(n, v) for kind in REGISTRIES for n, v in attributes.get(kind, {}).items() if v is not None]
        plain = [(n, v) for n, v in attributes.items() if n not in INTERNAL]
        for name, value in members:
            items[name] = _leaf(name, value, tensors)
        for name, value in plain:
            items[name] = _leaf(name, value, tensors) if isinstance(value, Tensor) else _shown(value)
        items[_FRAME] = nnx.graphlib.StaticElem(_frame(attributes, tensors))
        return sorted(items.items()), type(self)

    @staticmethod
    def _graph_node_create_empty(node_type: type) -> Any:
        node = object.__new__(node_type)
        start(node)
        return node

    def _graph_node_clear(self) -> None:
        attributes = vars(self)
        for name in tuple(attributes):
            if name not in INTERNAL:
                del attributes[name]
        for kind in (*REGISTRIES, *HOOKS):  # emptied, not replaced: handles of hooks hold them
            attributes.setdefault(kind, OrderedDict()).clear()

    def _graph_node_init(self, attributes: Iterable[tuple[str, Any]]) -> None:
        own, values = vars(self), dict(attributes)
        names, loose, tensors, hooks = values.pop(_FRAME).value
        for name, requires_grad in tensors.items():
            values[name] = from_array(values[name])
            values[name]._requires_grad = requires_grad
        for kind in REGISTRIES:
            own[kind].update((name, values.pop(name, None)) for name in names[kind])
        for kind, items in hooks.items():
            own[kind].update(items)
        own["_non_persistent_buffers_set"] = set(loose)
        for name, value in values.items():
            own[name] = _thawed(value)
        epoch[0] += 1

    def _graph_node_set_key(self, key: str, value: Any) -> None:
        current = getattr(self, key, None)
        if isinstance(current, nnx.Variable) and isinstance(value, nnx.Variable):
            current.update_from_state(value)
        elif isinstance(current, Tensor):
            current._rebind(value)
        else:
            setattr(self, key, value)

    def _graph_node_pop_key(self, key: str) -> Any:
        value = getattr(self, key)
        delattr(self, key)
        return value


def _leaf(name: str, value: Any, tensors: dict[str, bool]) -> Any:
    """A Variable or module as it is; a plain tensor as its array, noted as one."""
    if not isinstance(value, Tensor) or isinstance(value, nnx.Variable):
        if isinstance(value, Tensor) and value._base is not None:
            value._raw_value = value._value()  # NNX takes a Variable's array as it lies there
        return value
    tensors[name] = value._requires_grad
    return value._value()


def start(module: Any) -> None:
    """Give a bare module what it has before anything is registered."""
    own = vars(module)
    own["_pytree__state"] = PytreeState()
    own.pop("_pytree__nodes", None)  # the class has it
    for kind in REGISTRIES:
        own[kind] = {}
    own["_non_persistent_buffers_set"] = set()
    for kind in HOOKS:
        own[kind] = OrderedDict()
