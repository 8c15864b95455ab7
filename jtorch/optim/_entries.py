"""The state of a parameter as tensors: made when it is missing, checked, and its count of steps shared with others.

In torch each parameter has a tensor `step` of its own, and so it looks here. But those of parameters that step together
read one `Count`, so that a program counts once. A write to one of them makes it a number of its own again.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jtorch._capture import state as running
from jtorch._tensor import Tensor, from_array
from jtorch._views import CUT
from jtorch.ops import _args
from jtorch.optim._program import STEP, Form, named, shapes

BEGUN = "_begun"
"""A state entry that is 0 before the first step, then 1. No dictionary has it: state that was loaded has begun."""


def _outside(tensor: Tensor) -> Any:
    """The array of a tensor outside the program being traced, None if it has none there."""
    array = tensor._raw_value if tensor._base is None else tensor._value()
    if isinstance(array, jax.core.Tracer):
        known = None if running.session is None else running.session.saved.get(id(tensor))
        array = None if known is None else known[1][0]
    return None if isinstance(array, jax.core.Tracer) else array


def home(param: Tensor) -> frozenset | None:
    """The devices of a parameter, None where it is known only in the program being traced."""
    array = _outside(param)
    return None if array is None else frozenset(array.devices())


def _beside(array: Any, param: Tensor) -> Any:
    """A scalar on the devices that a parameter was put on, where the step will leave it: else it compiles twice."""
    where = _outside(param)
    if where is None or not where.committed or array.committed:
        return array
    sharding = where.sharding
    if isinstance(sharding, jax.sharding.NamedSharding):
        sharding = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return jax.device_put(array, sharding)


def _fresh(form: Form, group: dict, param: Tensor) -> dict[str, Tensor]:
    """New state. Under `compile` it is made outside the program, which then has it as input."""
    array = _outside(param)
    numbers = [each.of(group) for each in form.inputs for _ in range(each.width)]
    with jax.ensure_compile_time_eval():
        if array is None:
            array = jnp.zeros(tuple(param.shape), param._value().dtype)
        transform = form.transform(_outside(x) if isinstance(x, Tensor) else x for x in numbers)
        made = named(transform.init(array))
        return {name: from_array(_beside(jnp.asarray(entry), param)) for name, entry in made.items() if name != BEGUN}


def _fitting(slots: dict, name: str, shape: tuple[int, ...]) -> Tensor:
    """A state entry that is there, made a tensor if it is a number, as old checkpoints have it."""
    entry = slots[name]
    if not isinstance(entry, Tensor):
        entry = slots[name] = from_array(jnp.asarray(entry, _args.default_float()))
    array = entry._raw_value if entry._raw_value is not None else entry._base._raw_value
    found = (*array.shape, 2) if _args.is_complex(array.dtype) else tuple(array.shape)
    message = f"step(): expected state {name!r} of shape {list(shape)}, got {list(found)}"
    _args.check(found == tuple(shape), message, RuntimeError)
    return entry


def entries(state: dict, param: Tensor, group: dict, form: Form, begun: dict[Tensor, Tensor]) -> dict[str, Tensor]:
    """The tensors of a parameter's state in the order of the program, those that are missing made.

    `begun` keeps the flags that no dictionary has, by the tensor that they belong to.

    Raises:
        RuntimeError: one has another shape than the algorithm gives it.
    """
    wanted = shapes(form, tuple(param.shape), param._value().dtype)
    if not wanted:
        return {}
    slots = state[param]
    known = {n: v for n, v in slots.items() if v is not None}
    if not wanted.keys() - {BEGUN} <= known.keys():
        slots.update(_fresh(form, group, param))
        slots.update(known)
    found = {n: _fitting(slots, n, shape) for n, shape in wanted.items() if n != BEGUN}
    if BEGUN in wanted:
        owner = next(iter(found.values()))
        if owner not in begun:
            with jax.ensure_compile_time_eval():
                begun[owner] = from_array(_beside(jnp.asarray(float(bool(known)), _args.default_float()), param))
        found[BEGUN] = begun[owner]
    return {n: found[n] for n in wanted}


# counting together


class Count(Tensor):
    """How often some parameters have stepped. `departures` tells how many of them have gone since it was made."""

    departures: int = 0


class Step(Tensor):
    """The entry `step` of one parameter: it reads a Count until it is written."""

    def _write(self, array: Any, edge: Any) -> None:
        self._base.departures += 1  # type: ignore[union-attr]
        self._base, self._chain = None, ()
        self._put(array)

    def __deepcopy__(self, memo: dict) -> Tensor:
        memo[id(self)] = made = from_array(jnp.array(self._value(), copy=True))
        return made

    def __reduce_ex__(self, protocol: Any):
        return self.detach().__reduce_ex__(protocol)


def join(stepping: list[dict], others: list[dict], param: Tensor) -> list[Count | None]:
    """Let the parameters that step read one Count for all whose numbers are equal, apart from those that do not step.

    Returns the Count of each; None for a number that is not known, because the program being traced has changed it.
    New ones are made where `param` is.
    """
    kept = {id(slots[STEP]._base) for slots in others if isinstance(slots.get(STEP), Step)}
    tensors = [slots[STEP] for slots in stepping]
    joining = [t for t in tensors if not isinstance(t, Step) or t._base is None or id(t._base) in kept]
    made: dict[Any, Count] = {}
    for tensor, number in zip(joining, jax.device_get([_number(t) for t in joining]), strict=True):
        if number is not None:
            _attach(tensor, number, made, param)
    return [t._base if isinstance(t, Step) else None for t in tensors]


def _number(tensor: Tensor) -> Any:
    """The count that a tensor holds outside the program being traced, None if it cannot be had."""
    root = tensor if tensor._base is None else tensor._base
    changed = isinstance(root._raw_value, jax.core.Tracer) and not isinstance(root, Count)
    return None if changed else _outside(root)


def _attach(tensor: Tensor, number: Any, made: dict[Any, Count], param: Tensor) -> None:
    """Let a tensor read the Count of its number, which is among those `made` or is made now."""
    array = None
    if tensor._base is not None:
        array = tensor._base._value()
        tensor._base.departures += 1
    changed = array is not None and isinstance(array, jax.core.Tracer)  # by a step before, in the same program
    key = (number.dtype, float(number), id(array) if changed else None)
    if key not in made:
        count = made[key] = object.__new__(Count)
        with jax.ensure_compile_time_eval():
            count._raw_value = _beside(jnp.array(number), param)
        if changed:
            count._rebind(array)
    tensor.__class__ = Step
    tensor._raw_value, tensor._base, tensor._chain = None, made[key], CUT
    if running.session is not None:
        running.session.saved.pop(id(tensor), None)  # which would undo this when the trace ends


def part(slots: dict) -> None:
    """Make the count of a parameter a number of its own."""
    tensor = slots.get(STEP)
    if isinstance(tensor, Step) and tensor._base is not None:
        tensor._rebind(tensor._value())
