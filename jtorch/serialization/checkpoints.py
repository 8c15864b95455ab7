"""Checkpoints of a training run in one folder, through Orbax (`pip install jtorch-jax[files]`).

A checkpoint is there whole or not at all. It has an item for each part of the run that has a `state_dict`, and the item
`plain` for all else. An item is a tree that any program with Orbax reads: `arrays` by dotted name, and `rest`, the bytes
that `save` makes of what is no array.
"""

import atexit
import concurrent.futures.thread
import io
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch import random
from jtorch._creation import tensor as make_tensor
from jtorch._tensor import Tensor, from_array
from jtorch.nn._boxing import rebuilt
from jtorch.ops import _args
from jtorch.serialization.files import load, save

_PLAIN, _RNG = "plain", "rng"
_TAKEN = (_PLAIN, "metrics", "default")
_KINDS = (Tensor, jax.Array, np.ndarray)


def _library(name: str) -> Any:
    try:
        import orbax.checkpoint
    except ImportError as error:
        message = (
            f"{name}(): expected the package orbax-checkpoint, got none; `pip install jtorch-jax[files]` installs it"
        )
        raise ImportError(message) from error
    return orbax.checkpoint


# a state as arrays by name and the rest


class _Split:
    """A state in two: its arrays by dotted name, and the rest, in which a tensor of whole numbers stands for each.

    These numbers are what it was (a place in `_KINDS`), the place of its name, and its shape.
    """

    def __init__(self, state: Any, name: str = ""):
        self.arrays: dict[str, Any] = {}
        self._places: dict[int, int] = {}  # by the id of an array, which `arrays` keeps
        self._coded = self._code(state, name)

    def _code(self, value: Any, name: str) -> Any:
        if isinstance(value, _KINDS):
            array = value.detach()._concrete("save_checkpoint") if isinstance(value, Tensor) else value
            array = array.copy() if isinstance(array, np.ndarray) else array  # it may be written to meanwhile
            kind = next(i for i, kind in enumerate(_KINDS) if isinstance(value, kind))
            return make_tensor([kind, self._place(array, name or "value"), *array.shape])
        inner = f"{name}." if name else ""
        if isinstance(value, dict):
            names = {id(v): f"{inner}{k}" for k, v in value.items()}
        else:
            names = {id(v): f"{inner}{i}" for i, v in enumerate(value)} if isinstance(value, tuple | list) else {}
        return rebuilt(lambda part: self._code(part, names[id(part)]), value)

    def _place(self, array: Any, name: str) -> int:
        if id(array) not in self._places:
            while name in self.arrays:
                name += "'"
            self._places[id(array)] = len(self.arrays)
            self.arrays[name] = array
        return self._places[id(array)]

    def tree(self) -> dict[str, Any]:
        """What Orbax writes. It takes no empty arrays: an element stands for their dtype."""
        rest = io.BytesIO()
        save({"names": list(self.arrays), "state": self._coded}, rest)
        load(io.BytesIO(rest.getvalue()))  # what it would refuse later is an error now
        arrays = {n: a if a.size else np.zeros(1, a.dtype) for n, a in self.arrays.items()}
        return {"rest": np.frombuffer(rest.getvalue(), np.uint8)} | ({"arrays": arrays} if arrays else {})


def _joined(tree: Mapping[str, Any]) -> Any:
    """The state that a tree was made of."""
    rest = load(io.BytesIO(np.asarray(tree["rest"]).tobytes()))
    arrays = [tree["arrays"][name] for name in rest["names"]]

    def decoded(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return rebuilt(decoded, value)
        kind, place, *shape = value.tolist()
        array = arrays[place]
        array = array if array.shape == tuple(shape) else array[:0].reshape(shape)
        return from_array(jnp.asarray(array)) if _KINDS[kind] is Tensor else array

    return decoded(rest["state"])


# saves that go on

_going: dict[str, tuple[Any, Any]] = {}
"""By folder, who writes and what is written: an array that is held here is not donated meanwhile."""


def _finish(path: str) -> None:
    """Wait for the save that goes on in a folder; it raises what went wrong."""
    if path in _going:
        manager, _ = _going.pop(path)
        try:
            manager.wait_until_finished()
        finally:
            manager.close()


def _finish_all() -> None:
    for path in list(_going):
        _finish(path)


# Orbax hands work to threads until a save is whole, and they take none by the time that atexit calls: this has to come
# before they stop, so be registered after their module is imported.
assert concurrent.futures.thread
getattr(threading, "_register_atexit", atexit.register)(_finish_all)


def _path(directory: Any) -> str:
    text = os.fspath(directory)
    return text if "://" in text else os.path.abspath(text)


def _write(manager: Any, step: int, items: Any) -> None:
    latest = manager.latest_step()
    message = f"save_checkpoint(): expected a step after {latest}, which is there, got {step}"
    _args.check(latest is None or step > latest, message, ValueError)
    manager.save(step, args=items, force=True)


def save_checkpoint(
    directory: str | os.PathLike,
    step: int,
    *,
    max_to_keep: int | None = None,
    asynchronous: bool = False,
    rng: bool = True,
    **parts: Any,
) -> None:
    """Write a checkpoint of a step into a folder, for `load_checkpoint` to resume from.

    A process that is killed while it writes leaves the checkpoints before this one. Arrays that are spread over devices
    or processes are written by each from where they are.

    Args:
        directory: a path, or whatever else Orbax takes. One process, or one group of JAX's processes, writes there.
        step: more than those of the checkpoints that are there.
        max_to_keep: how many checkpoints stay, the latest ones; None keeps all.
        asynchronous: whether to return when the arrays are safe from changes, and write on meanwhile. The next call for
            the folder, or the end of the program, waits, and raises what went wrong.
        rng: whether the state of the default generator is kept.
        parts: by a name of your choice, what has a `state_dict` (models, optimizers, schedulers), and plain data:
            numbers, texts, tensors and arrays, and containers of them.
    Raises:
        ValueError: the step is not after the latest one, or a name is taken.
        ImportError: Orbax is not installed.

    Example:
        >>> import tempfile, jtorch
        >>> model = jtorch.nn.Linear(2, 1)
        >>> folder = tempfile.mkdtemp()
        >>> jtorch.save_checkpoint(folder, 7, model=model, epoch=3)
        >>> jtorch.load_checkpoint(folder, model=model)
        {'step': 7, 'epoch': 3}
    """
    ocp = _library("save_checkpoint")
    path = _path(directory)
    _finish(path)
    stateful = {name: part.state_dict() for name, part in parts.items() if hasattr(part, "state_dict")}
    plain = {name: part for name, part in parts.items() if name not in stateful}
    taken = [name for name in stateful if name in _TAKEN] + [name for name in plain if name in (_RNG, "step")]
    _args.check(not taken, f"save_checkpoint(): expected other names of parts than {taken[:1]}", ValueError)
    plain |= {_RNG: random.get_rng_state()} if rng else {}
    split = {name: _Split(state) for name, state in {**stateful, _PLAIN: plain}.items()}
    items = {name: ocp.args.StandardSave(each.tree()) for name, each in split.items()}
    keep = None if max_to_keep is None else ocp.checkpoint_managers.LatestN(max_to_keep)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep, cleanup_tmp_directories=True, enable_async_checkpointing=asynchronous
    )
    manager = ocp.CheckpointManager(path, options=options)
    _going[path] = manager, split
    try:
        _write(manager, step, ocp.args.Composite(**items))
    except BaseException:
        _finish(path)
        raise
    if not asynchronous:
        _finish(path)


# reading


def latest_step(directory: str | os.PathLike) -> int | None:
    """The step of the latest whole checkpoint in a folder, None where there is none.

    Raises:
        ImportError: Orbax is not installed.
    """
    ocp = _library("latest_step")
    path = _path(directory)
    _finish(path)
    if "://" not in path and not os.path.isdir(path):
        return None
    with _reading(ocp, path) as manager:
        return manager.latest_step()


def _reading(ocp: Any, path: str, **options: Any) -> Any:
    """What reads a folder and changes nothing in it: another process may be writing there."""
    settings = ocp.CheckpointManagerOptions(create=False, save_root_metadata=False, enable_async_checkpointing=False)
    return ocp.CheckpointManager(path, options=settings, **options)


def load_checkpoint(
    directory: str | os.PathLike, step: int | None = None, *, rng: bool = True, **parts: Any
) -> dict[str, Any]:
    """Give models, optimizers and the like the state that they had, and return what else the checkpoint has.

    That is the step, and the plain data by name. Without parts it is everything, as `state_dict`s.
    Arrays go where those of the parts are now, on one device or spread over several.

    Args:
        step: None is the latest one.
        rng: whether the default generator goes on from the state that was kept.
        parts: what is to be filled, by the names that it was saved under.
    Raises:
        FileNotFoundError: there is no such checkpoint.
        RuntimeError: it lacks one of the parts, or holds other sizes.
        ImportError: Orbax is not installed.
    """
    ocp = _library("load_checkpoint")
    path = _path(directory)
    latest = latest_step(path)
    found = latest if step is None else step
    if latest is None or found is None:
        raise FileNotFoundError(f"load_checkpoint(): expected a checkpoint in {path}, got none")
    states = _read(ocp, path, found, parts)
    plain = states.pop(_PLAIN)
    state = plain.pop(_RNG, None)
    for name, part in parts.items():
        part.load_state_dict(states.pop(name))
    if rng and state is not None:
        random.set_rng_state(state)
    return {"step": found, **plain, **states}


def _read(ocp: Any, path: str, step: int, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The states of the parts, or of all where there are none, and the plain data."""
    with _reading(ocp, path) as manager:
        if step not in manager.all_steps():
            raise FileNotFoundError(f"load_checkpoint(): expected one of steps {manager.all_steps()}, got {step}")
        there = {part.name for part in (manager.directory / str(step)).iterdir() if part.is_dir()}
    _args.check(
        _PLAIN in there, f"load_checkpoint(): expected what save_checkpoint() wrote, got {sorted(there)}", RuntimeError
    )
    for name in parts:
        message = f"load_checkpoint(): expected a part among {sorted(there - {_PLAIN})}, got {name!r}"
        _args.check(name in there and name != _PLAIN, message, RuntimeError)
    handlers = {name: ocp.StandardCheckpointHandler() for name in ({*parts, _PLAIN} if parts else there)}
    with _reading(ocp, path, item_handlers=handlers) as manager:
        described = manager.item_metadata(step)
        items = {}
        for name in handlers:
            now = _Split(parts[name].state_dict()).arrays if name in parts else {}
            items[name] = ocp.args.StandardRestore(_wanted(described[name], now))
        trees = manager.restore(step, args=ocp.args.Composite(**items))
        return {name: _joined(trees[name]) for name in handlers}


def _wanted(described: Any, now: Mapping[str, Any]) -> Any:
    """A tree of what is to be read, and where each array is to be, given those of now."""
    described = getattr(described, "tree", described)

    def of(name: str, leaf: Any) -> Any:
        if leaf.sharding is None:  # of NumPy, and here without its memory
            return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
        like = now.get(name)
        fits = isinstance(like, jax.Array) and like.shape == tuple(leaf.shape)
        sharding = like.sharding if fits else _again(leaf.sharding)  # type: ignore[union-attr]
        return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype), sharding=sharding)

    arrays = {name: of(name, leaf) for name, leaf in described.get("arrays", {}).items()}
    return {"rest": of("", described["rest"])} | ({"arrays": arrays} if arrays else {})


def _again(saved: Any) -> Any:
    """The sharding that an array was saved with, where these devices are here; else the default device."""
    make: Callable | None = getattr(saved, "to_jax_sharding", None)
    try:
        made = None if make is None else make()
    except (ValueError, KeyError, RuntimeError):
        made = None
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0]) if made is None else made
