"""`save` and `load`: objects with tensors in files of torch's formats, written and read without torch."""

import contextlib
import io
import os
import pathlib
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from jtorch.ops import _args
from jtorch.serialization import archive, legacy
from jtorch.serialization.places import Places


def save(
    obj: object,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write an object to a file that PyTorch reads too.

    A file at a path is written whole or not at all: under another name first, which then replaces the old file.

    Args:
        obj: tensors, parameters, and containers of them; modules and other objects as Python pickles them, which only
            jtorch can read.
        f: a path or an open binary file.
        pickle_module: accepted, if it is Python's own.
    Raises:
        ValueError: another pickle_module.

    Example:
        >>> import io, jtorch
        >>> file = io.BytesIO()
        >>> jtorch.save({"weight": jtorch.ones(2), "epoch": 3}, file)
        >>> _ = file.seek(0)
        >>> jtorch.load(file)
        {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    _args.check(pickle_module is pickle, "save(): expected Python's pickle as pickle_module, got another", ValueError)
    with written(f) as file:
        if _use_new_zipfile_serialization:
            archive.save(obj, file, pickle_protocol, not _disable_byteorder_record)
        else:
            legacy.save(obj, file, pickle_protocol)


@contextlib.contextmanager
def written(f: Any) -> Iterator[Any]:
    """An open file that takes the place of the one at a path when it is complete."""
    if not isinstance(f, str | os.PathLike):
        _args.check(hasattr(f, "write"), f"save(): expected a path or a file, got {type(f).__name__}", AttributeError)
        yield f
        return
    path = pathlib.Path(os.path.realpath(f))
    if not path.parent.is_dir():
        raise RuntimeError(f"Parent directory {path.parent} does not exist.")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
        _sync_folder(path.parent)
    except BaseException:
        pathlib.Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: pathlib.Path) -> None:
    """Make a renaming last, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """The object in a file that jtorch or PyTorch saved, in its zip format or the older one.

    Tensors that shared memory share it again. Without `jax_enable_x64`, 64-bit tensors get their 32-bit forms.

    Args:
        f: a path or an open binary file that can be sought in.
        map_location: the device of the tensors: None is where they were, or a device, a mapping from one to another, or
            a function of the storage and the name of its device.
        pickle_module: accepted, if it is Python's own.
        weights_only: None and True read files that hold nothing but data and what `add_safe_globals` has allowed. False
            runs what the file says: only for files from a source that you trust.
        mmap: True reads tensors from the file when they are made, without reading all of it first.
    Raises:
        pickle.UnpicklingError: the file asks for something that is not allowed, or is malformed.
        RuntimeError: it is cut short, what it says of sizes is not true, or there is no such device.
    """
    plain = pickle_module in (None, pickle)
    _args.check(plain, "load(): expected Python's pickle as pickle_module, got another", ValueError)
    weights_only = True if weights_only is None else weights_only
    encoding = pickle_load_args.get("encoding", "utf-8")
    places = Places(map_location)
    with _opened(f) as file:
        start = file.tell()
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(start)
        if not zipped:
            _args.check(not mmap, "load(): expected the zip format for mmap=True, got the older one", RuntimeError)
            return legacy.load(io.BytesIO(file.read()), places, weights_only, encoding)
        path = isinstance(f, str | os.PathLike)
        _args.check(path or not mmap, "f must be a string filename in order to use mmap argument", ValueError)
        mapped = np.memmap(f, np.uint8, "r") if mmap else None
        return archive.load(archive.Archive(file, mapped), places, weights_only, encoding)


@contextlib.contextmanager
def _opened(f: Any) -> Iterator[Any]:
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            yield file
        return
    able = all(hasattr(f, name) for name in ("read", "seek", "tell"))
    _args.check(able, f"load(): expected a path or a file to seek in, got {type(f).__name__}", AttributeError)
    yield f
