"""Objects as pickles in which tensors, dtypes and the like have torch's names, and back.

A reader that may build nothing but data has a list of names it knows, takes no instruction that could do more, and
passes on to no object what the file wants its attributes to be, except to dictionaries and to classes that the user
has allowed.
"""

import collections
import contextlib
import functools
import io
import pickle
import struct
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from jtorch import _types
from jtorch._tensor import Tensor
from jtorch.nn.parameter import Buffer, Parameter
from jtorch.serialization import storages
from jtorch.serialization.storages import Rebuilding


class Name(NamedTuple):
    """Something of torch's that a file names."""

    module: str
    name: str

    def __call__(self, *args: Any) -> None:
        """Refuses: it is there since a pickle may only name what can be called."""
        raise pickle.UnpicklingError(f"load(): expected {self.module}.{self.name} to be named, got a call of it")


def _torch(name: str) -> Name:
    module, _, last = name.rpartition(".")
    return Name(module, last)


class StorageName(NamedTuple):
    """A storage where a pickle refers to it."""

    reference: tuple


# writing


class Writer(pickle._Pickler):  # type: ignore[name-defined]
    """A pickler that names what is torch's, and keeps the elements of tensors apart.

    After `dump`, `storages` has the flat arrays by key.
    """

    def __init__(self, file: Any, protocol: int, legacy: bool):
        super().__init__(file, protocol)
        self.storages: dict[str, np.ndarray] = {}
        self._legacy = legacy
        self._keys: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept, so that its id stays its own

    def reducer_override(self, obj: Any) -> Any:
        """How the things that torch knows are pickled; all others as they say themselves."""
        if isinstance(obj, Tensor):
            return self._reduce_tensor(obj)
        if isinstance(obj, _types.Size):
            return _torch("torch.Size"), (tuple(obj),)
        if isinstance(obj, _types.device):
            return _torch("torch.device"), (obj.type,) if obj.index is None else (obj.type, obj.index)
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write a name, of torch's own things too."""
        if not isinstance(obj, Name):
            return super().save_global(obj, name)
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    def persistent_id(self, obj: Any) -> Any:
        """The reference that stands for a storage."""
        return obj.reference if isinstance(obj, StorageName) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Write an object."""
        if isinstance(obj, Name | _types.dtype):
            name = obj if isinstance(obj, Name) else _torch(repr(obj))
            known = self.memo.get(id(_interned(name)))
            return self.write(self.get(known[0])) if known is not None else self.save_global(_interned(name))
        super().save(obj, save_persistent_id)

    def _reduce_tensor(self, tensor: Tensor) -> tuple:
        if isinstance(tensor, Parameter):
            data = tensor.detach()
            return _torch("torch._utils._rebuild_parameter"), (data, tensor.requires_grad, collections.OrderedDict())
        function, args = self._strided(tensor)
        if isinstance(tensor, Buffer) and tensor._is_buffer:
            state = {"persistent": tensor.persistent, "_is_buffer": True}
            kind = _torch("torch.Tensor")
            return _torch("torch._tensor._rebuild_from_type_v2"), (function, kind, args, state)
        return function, args

    def _strided(self, tensor: Tensor) -> tuple[Name, tuple]:
        base, offset, size, stride = storages.geometry(tensor)
        if id(base) not in self._keys:
            self._keys[id(base)] = str(len(self._keys)), base
            self.storages[self._keys[id(base)][0]] = np.asarray(base.detach()._concrete("save")).reshape(-1)
        key = self._keys[id(base)][0]
        flat = self.storages[key]
        kind = storages.type_name(flat.dtype)
        untyped = kind == storages.UNTYPED
        name = _torch("torch.storage.UntypedStorage" if untyped else f"torch.{kind}")
        where = str(tensor.device) if tensor.device.type == "cuda" else "cpu"
        reference = ("storage", name, key, where, flat.nbytes if untyped else flat.size)
        stored = StorageName((*reference, None) if self._legacy else reference)
        args = stored, offset, size, stride, tensor.requires_grad, collections.OrderedDict()
        if untyped:
            return _torch("torch._utils._rebuild_tensor_v3"), (*args, tensor.dtype)
        return _torch("torch._utils._rebuild_tensor_v2"), args


@functools.cache
def _interned(name: Name) -> Name:
    """One object for a name, so that a pickle writes it once."""
    return name


# reading

_allowed: dict[str, Any] = {}


def add_safe_globals(safe_globals: list) -> None:
    """Allow classes and functions in files that are loaded with `weights_only=True`.

    Args:
        safe_globals: the objects, or pairs of an object and the full name that files give it.
    """
    for each in safe_globals:
        obj, name = each if isinstance(each, tuple) else (each, f"{each.__module__}.{each.__qualname__}")
        _allowed[name] = obj


def get_safe_globals() -> list:
    """What has been allowed by `add_safe_globals`."""
    return list(_allowed.values())


def clear_safe_globals() -> None:
    """Forget what has been allowed."""
    _allowed.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: list) -> Iterator[None]:
    """Allow classes and functions inside a `with` block."""
    before = dict(_allowed)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _allowed.clear()
        _allowed.update(before)


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"load(): expected bytes written as latin1, got {encoding}")
    return text.encode("latin1")


def _byte_array(data: Any = b"", encoding: str = "latin1") -> bytearray:
    if not isinstance(data, bytes | str):
        raise pickle.UnpicklingError(f"load(): expected the bytes of a bytearray, got {type(data).__name__}")
    return bytearray(data.encode(encoding) if isinstance(data, str) else data)


_DATA: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "collections.Counter": collections.Counter,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.complex": complex,
    "builtins.bytearray": _byte_array,
    "_codecs.encode": _bytes,
    "torch.Size": _types.Size,
    "torch.device": _types.device,
    "torch.serialization._get_layout": lambda name: _types.strided,
}


_TENSORS = {"torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"}


def _of_torch(path: str, rebuilding: Rebuilding) -> Any:
    """What a name of torch's stands for, or None."""
    found = rebuilding.functions.get(path) or _DATA.get(path)
    if found is not None:
        return found
    module, _, name = path.rpartition(".")
    if module == "torch" and name in _types.dtypes:
        return _types.dtypes[name]
    stored = name.endswith("Storage") and module in ("torch", "torch.cuda", "torch.storage")
    return _torch(path) if stored or path in _TENSORS else None


class Reader(pickle.Unpickler):
    """An unpickler for files that are trusted: they may name anything, except what only PyTorch itself has."""

    def __init__(self, file: Any, load: Callable, rebuilding: Rebuilding, **options: Any):
        super().__init__(file, **options)
        self.persistent_load, self._rebuilding = load, rebuilding  # type: ignore[method-assign]

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for."""
        if module.partition(".")[0] != "torch":
            return super().find_class(module, name)
        found = _of_torch(f"{module}.{name}", self._rebuilding)
        if found is None:
            raise pickle.UnpicklingError(
                f"load(): expected names that jtorch has, got {module}.{name}; save the module's state_dict() instead"
            )
        return found


_INSTRUCTIONS = """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT INT LONG
    FLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 UNICODE BINSTRING SHORT_BINSTRING STRING BINBYTES SHORT_BINBYTES
    BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS
    EMPTY_SET ADDITEMS FROZENSET PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE
    NEWOBJ BUILD BINPERSID
"""
_CODES = {getattr(pickle, name)[0] for name in _INSTRUCTIONS.split()}


def _filling(load: Callable, kind: type, place: int) -> Callable:
    """An instruction that puts elements into a container, for containers of one kind alone.

    Args:
        place: where the container is on the stack; 0 is below the mark.
    """

    def checked(reader: Any) -> None:
        target = reader.stack[place] if place else reader.metastack[-1][-1]
        if not isinstance(target, kind):
            raise pickle.UnpicklingError(f"load(): expected a {kind.__name__} to fill, got a {type(target).__name__}")
        load(reader)

    return checked


_DEEPEST = 100
"""How deep tuples may stand in one another: Python hashes them by recursion without an end."""


def _nesting(load: Callable) -> Callable:
    """An instruction that may make a tuple, which is refused where it is too deep."""

    def checked(reader: Any) -> None:
        load(reader)
        made = reader.stack[-1]
        if isinstance(made, tuple | frozenset):
            depth = 1 + max((reader.depths.get(id(part), 0) for part in made), default=0)
            if depth > _DEEPEST:
                raise pickle.UnpicklingError(f"load(): expected tuples at most {_DEEPEST} deep, got deeper ones")
            reader.depths[id(made)] = depth

    return checked


class DataReader(pickle._Unpickler):  # type: ignore[name-defined]
    """An unpickler that can build nothing but data, and what the user has allowed."""

    dispatch: ClassVar = {k: v for k, v in pickle._Unpickler.dispatch.items() if k in _CODES}  # type: ignore[attr-defined]

    def __init__(self, file: Any, load: Callable, rebuilding: Rebuilding, **options: Any):
        super().__init__(file, **options)
        self._load, self._rebuilding = load, rebuilding
        self.depths: dict[int, int] = {}  # of tuples, by id

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a reference means."""
        return self._load(pid)

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for, if it is known or allowed."""
        path = f"{module}.{name}".replace("__builtin__", "builtins")
        found = _allowed.get(path)
        if found is None:
            found = _of_torch(path, self._rebuilding)
        if found is None:
            raise pickle.UnpicklingError(
                f"Weights only load failed. load(): expected nothing but data, got the name {path}; if you trust the "
                f"file, allow it with jtorch.serialization.add_safe_globals([{name}]) or load with weights_only=False"
            )
        return found

    def load_build(self) -> None:
        """Give the object before it on the stack its attributes, if it may have any."""
        state, target = self.stack[-1], self.stack[-2]
        if type(target) is collections.OrderedDict:
            if not isinstance(state, dict) or not state.keys() <= {"_metadata"}:
                raise pickle.UnpicklingError("load(): expected the attributes of a state_dict, got others")
            target.__dict__.update(self.stack.pop())
            return
        if not any(type(target) is kind for kind in _allowed.values()):
            raise pickle.UnpicklingError(
                f"Weights only load failed. load(): expected nothing but data, got a state for a {type(target).__name__}"
            )
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore
    for _code, _kind, _place in (
        (pickle.APPEND, list, -2), (pickle.APPENDS, list, 0), (pickle.SETITEM, dict, -3), (pickle.SETITEMS, dict, 0),
        (pickle.ADDITEMS, set, 0),
    ):  # fmt: skip
        dispatch[_code[0]] = _filling(dispatch[_code[0]], _kind, _place)
    for _code in (
        pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.FROZENSET, pickle.REDUCE, pickle.NEWOBJ
    ):  # fmt: skip
        dispatch[_code[0]] = _nesting(dispatch[_code[0]])


MALFORMED = (
    ValueError, AttributeError, IndexError, KeyError, TypeError, EOFError, OverflowError, RecursionError, struct.error
)  # fmt: skip
"""What an unpickler raises where bytes make no sense."""


def read(
    file: io.BytesIO,
    load: Callable,
    rebuilding: Rebuilding,
    weights_only: bool,
    encoding: str = "utf-8",
    data: type = DataReader,
) -> Any:
    """The next pickle of a file, read by a reader of `data` where that is all that it may hold.

    Raises: pickle.UnpicklingError where it is malformed, or asks for what it may not have.
    """
    reader = (data if weights_only else Reader)(file, load, rebuilding, encoding=encoding)
    try:
        return reader.load()
    except MALFORMED as error:
        if not weights_only:  # it may come from a class of the user
            raise
        raise pickle.UnpicklingError(
            f"load(): expected a whole file that save() wrote, got one that is not: {error}"
        ) from error


def parts_of(reference: Any) -> tuple[str, str, str, int]:
    """What a reference to a storage says: kind, key, location and number of elements."""
    parts: list[Any] = list(reference) if isinstance(reference, tuple) and len(reference) in (5, 6) else [None] * 5
    word, kind, key, location, count = parts[:5]
    texts = all(isinstance(text, str) for text in (key, location, getattr(kind, "name", None)))
    if word != "storage" or not texts or type(count) is not int:
        raise pickle.UnpicklingError(f"load(): expected a reference to a storage, got {reference!r:.100}")
    return kind.name, key, location, count
