"""Parameters that are computed from others: `register_parametrization` and what goes with it.

A parametrized module is of a class of its own, in which the name of the parameter is a property. Such a class depends
only on the module's first class and on those names, so copies of a module, and what NNX makes of it, share it safely.
The originals are parameters of a ParametrizationList among the module's children, where NNX and `state_dict` find them.
"""

import contextlib
import types
from collections.abc import Iterator, Sequence
from typing import Any

from jax.extend.core import get_opaque_trace_state

from jtorch._capture import state
from jtorch._tensor import Tensor
from jtorch.autograd.grad_mode import no_grad
from jtorch.nn.container import ModuleDict, ModuleList
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check, fail

# the cache

_depth = [0]
_cache: dict[tuple[int, str], tuple] = {}


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Inside, each parametrized tensor is computed once and kept until the outermost of these contexts ends."""
    _depth[0] += 1
    try:
        yield
    finally:
        _depth[0] -= 1
        if not _depth[0]:
            _cache.clear()


def _computed(module: Any, name: str) -> Any:
    """The parametrized tensor, taken from the cache where that is on and was filled by the same trace."""
    parametrization = module.parametrizations[name]
    if state.session is not None:
        state.session.guard(lambda: _depth[0] > 0, "whether parametrizations are cached")
    if not _depth[0]:
        return parametrization()
    trace = get_opaque_trace_state(convention="jtorch")
    owner, before, value = _cache.get((id(module), name), (None, None, None))
    if owner is not module or before != trace:
        value = parametrization()
        _cache[id(module), name] = module, trace, value
    return value


# the originals


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_same(made: Any, before: Any) -> None:
    """Raise where a parametrization changes what a tensor is like."""
    check(isinstance(made, Tensor), f"A parametrization must return a tensor. Got {type(made).__name__}.")
    for name in ("dtype", "shape"):
        old, new = getattr(before, name), getattr(made, name)
        check(
            old == new,
            f"Registering a parametrization may not change the {name} of the tensor, unless `unsafe` flag is enabled.\n"
            f"unparametrized {name}: {old}\nparametrized {name}: {new}",
        )


def _inverted(modules: Sequence[Any], value: Any) -> Any:
    """The value through the right inverses that there are."""
    for module in reversed(modules):
        if hasattr(module, "right_inverse"):
            with contextlib.suppress(NotImplementedError):
                value = module.right_inverse(value)
    return value


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied one after another, and the tensors that they start from.

    Those are `original`, or `original0`, `original1`, ... where the last right inverse gives several.

    Args:
        unsafe: whether the result may be of another dtype or shape.

    Raises:
        ValueError: there is none, or what one of them gives does not fit.
    """

    original: Tensor
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False):
        check(len(modules) > 0, "ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        was = types.SimpleNamespace(shape=original.shape, dtype=original.dtype)
        with no_grad():
            new = _inverted(list(self), original)
        several = isinstance(new, Sequence)
        check(
            isinstance(new, Tensor) or several,
            f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got {type(new).__name__}",
        )
        self.is_tensor = not several
        self.ntensors = len(new) if several else 1
        if several:
            self._register_several(new, original)
        else:
            self._register_one(new, original)
        if not self.unsafe:
            _check_same(self(), was)

    def _register_one(self, new: Any, original: Tensor) -> None:
        for name in ("dtype", "device"):
            old, made = getattr(original, name), getattr(new, name)
            check(
                old == made,
                f"When `right_inverse` outputs one tensor, it may not change the {name}.\noriginal.{name}: {old}\n"
                f"right_inverse(original).{name}: {made}",
            )
        _replace(original, new)
        _register(self, "original", original)

    def _register_several(self, new: Sequence[Any], original: Tensor) -> None:
        for i, each in enumerate(new):
            check(
                isinstance(each, Tensor),
                f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element {i} of "
                f"the sequence with type {type(each).__name__}.",
            )
            if isinstance(original, Parameter):
                each = Parameter(each.detach(), original.requires_grad)
            each.requires_grad_(original.requires_grad)
            _register(self, f"original{i}", each)

    def _originals(self) -> list[Any]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    @no_grad()
    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the result is `value`, as far as the right inverses go.

        Raises:
            RuntimeError: a parametrization has none.
            ValueError: what they give does not fit.
        """
        made: Any = value
        for module in reversed(list(self)):
            check(
                hasattr(module, "right_inverse"),
                f"parametrization {type(module).__name__} does not implement right_inverse.",
                RuntimeError,
            )
            made = module.right_inverse(made)
        if not self.is_tensor:
            kind = type(made).__name__
            check(isinstance(made, Sequence), f"'right_inverse' must return a sequence of tensors. Got {kind}.")
            check(
                len(made) == self.ntensors,
                f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of length "
                f"{len(made)}.",
            )
        originals = self._originals()
        made = [made] if self.is_tensor else made
        for i, (original, new) in enumerate(zip(originals, made, strict=True)):
            which = "" if self.is_tensor else f"{i}"
            check(isinstance(new, Tensor), f"`right_inverse` should return a tensor. Got {type(new).__name__}")
            check(
                new.dtype == original.dtype,
                f"Tensor {which} returned by `right_inverse` has dtype {new.dtype} while `original{which}` has dtype "
                f"{original.dtype}",
            )
        for original, new in zip(originals, made, strict=True):
            _replace(original, new)

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        first, *rest = self
        value = first(*self._originals())
        for module in rest:
            value = module(value)
        return value


def _replace(original: Tensor, new: Tensor) -> None:
    """Give a tensor another's values and shape; what else holds it sees them."""
    if new is not original:
        original.data = new.detach()


# the classes


def _refuse(self: Any, protocol: Any) -> Any:
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(): save that, and load it into a "
        "module with the same parametrizations"
    )


def _property(name: str) -> property:
    return property(
        lambda self: _computed(self, name),
        lambda self, value: self.parametrizations[name].right_inverse(value),
        doc=f"The parametrized `{name}`.",
    )


def _class_of(base: type, names: frozenset[str]) -> type:
    """The class of modules of class `base` in which these names are parametrized."""
    for made in base.__subclasses__():
        if vars(made).get("_parametrized") == names:
            return made
    body = {name: _property(name) for name in names}
    body |= {"__reduce_ex__": _refuse, "_parametrized": names, "__module__": __name__}
    return types.new_class(f"Parametrized{base.__name__}", (base,), {}, lambda space: space.update(body))


def _set_names(module: Any, names: set[str]) -> None:
    base = type_before_parametrizations(module)
    module.__class__ = _class_of(base, frozenset(names)) if names else base


# from outside


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """The module, in which a parameter or buffer from now on is what `parametrization` makes of the original.

    Several parametrizations of one tensor apply one after another. Where it has a `right_inverse`, that makes the
    original from the tensor at hand; assigning to the attribute uses it too.

    Args:
        unsafe: whether the parametrization may change the tensor's dtype or shape.

    Raises:
        ValueError: there is no such tensor, or the parametrization does not fit.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
        return module
    if tensor_name not in module._buffers and tensor_name not in module._parameters:
        fail(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    made = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    _set_names(module, {*module.parametrizations, tensor_name})
    module.parametrizations[tensor_name] = made
    return module


def _check_next(module: Any, name: str, parametrization: Any) -> None:
    """Raise where one more parametrization would change what the tensor is like."""
    before = getattr(module, name)
    made = parametrization(before)
    _check_same(made, before)
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(made)
    except NotImplementedError:
        return
    kind = type(back).__name__
    check(isinstance(back, Tensor), f"parametrization.right_inverse must return a tensor. Got: {kind}")
    for what in ("dtype", "shape"):
        old, new = getattr(before, what), getattr(back, what)
        check(
            old == new,
            f"The tensor returned by parametrization.right_inverse must have the same {what} as module.{name}, unless "
            f"the `unsafe` flag is enabled.\nmodule.{name}.{what}: {old}\nreturned {what}: {new}",
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module is parametrized, or any of them if no name is given."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """The module, in which the tensor is a parameter or buffer again.

    Args:
        leave_parametrized: whether it keeps the value that it has now, rather than that of the original.

    Raises:
        ValueError: it is not parametrized, or it has several originals and is not to keep its value.
    """
    if not is_parametrized(module, tensor_name):
        fail(f"Module {module} does not have a parametrization on {tensor_name}")
    found = module.parametrizations[tensor_name]
    check(
        found.is_tensor or leave_parametrized,
        "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence "
        "of tensors.",
    )
    original: Any = found.original if found.is_tensor else None
    if leave_parametrized:
        value = getattr(module, tensor_name)
        if original is None:
            original = Parameter(value.detach()) if value.requires_grad else value
        else:
            _replace(original, value)
    del module.parametrizations[tensor_name]
    _set_names(module, set(module.parametrizations))
    if not is_parametrized(module):
        del module.parametrizations
    _register(module, tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of the module without its parametrizations."""
    kind = type(module)
    return kind.__bases__[0] if "_parametrized" in vars(kind) else kind


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """`to_module`, with the parametrizations of `from_module` and their originals, shared by both.

    Args:
        tensor_name: the tensor whose parametrizations to take; None means all.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        source = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        for original in [n for n in (*source._parameters, *source._buffers) if n.startswith("original")]:
            setattr(target, original, getattr(source, original))
    return to_module
