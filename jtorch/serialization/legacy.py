"""torch's file format before 1.6: pickles one after the other, then the storages."""

import io
import pickle
import struct
import sys
from typing import Any, ClassVar

import numpy as np

from jtorch.ops import _args
from jtorch.serialization.pickling import DataReader, Writer, parts_of, read
from jtorch.serialization.places import Places
from jtorch.serialization.storages import Rebuilding, Storage, dtype_of

MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT = struct.Struct("<q")


def save(obj: Any, file: Any, protocol: int) -> None:
    """Write an object to an open binary file."""
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": _PROTOCOL, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    for part in (MAGIC, _PROTOCOL, system):
        pickle.dump(part, file, protocol)
    writer = Writer(file, protocol, legacy=True)
    writer.dump(obj)
    keys = sorted(writer.storages)
    pickle.dump(keys, file, protocol)
    for key in keys:
        flat = writer.storages[key]
        file.write(_COUNT.pack(flat.size))
        file.write(flat.view(np.uint8).data)


class _Anything(dict):
    """What stands for every object while only the storages are looked for."""

    def __call__(self, *args: Any, **kwargs: Any) -> "_Anything":
        return _Anything()

    append = extend = add = __setitem__ = __setstate__ = __call__  # type: ignore[assignment]
    __hash__ = object.__hash__  # type: ignore[assignment]


class _Survey(DataReader):
    """A reader that makes nothing, and notes the kinds of the storages."""

    def find_class(self, module: str, name: str) -> Any:
        """Something without effect, or the name of a storage."""
        return super().find_class(module, name) if name.endswith("Storage") else _Anything()

    def load_build(self) -> None:
        """Leave the state."""
        self.stack.pop()

    dispatch: ClassVar = {**DataReader.dispatch, pickle.BUILD[0]: load_build}


def load(file: io.BytesIO, places: Places, weights_only: bool, encoding: str) -> Any:
    """The object in a file of the old format."""
    nothing = Rebuilding()

    def data() -> Any:
        return read(file, lambda _: None, nothing, True)

    magic, protocol, system = data(), data(), data()
    known = magic == MAGIC and protocol == _PROTOCOL and isinstance(system, dict)
    _args.check(known, "load(): expected a file that save() wrote, got something else", RuntimeError)
    start = file.tell()
    kinds: dict[str, np.dtype] = {}

    def note(reference: Any) -> None:
        kind, key, _, _ = parts_of(reference)
        kinds[key] = dtype_of(kind)

    read(file, note, nothing, True, encoding, _Survey)
    content = _storages(file, data(), kinds, bool(system.get("little_endian", True)))
    found: dict[str, Storage] = {}

    def storage(reference: Any) -> Storage:
        _, key, location, count = parts_of(reference)
        _args.check(
            not any(reference[5:]), "load(): expected storages that are no parts of others, got one", RuntimeError
        )
        _args.check(key in content, f"load(): expected a storage {key:.100}, got none", RuntimeError)
        size = content[key].size
        _args.check(count == size, f"load(): expected {count} elements of storage {key}, got {size}", RuntimeError)
        if key not in found:
            found[key] = places.of(Storage(content[key], None), location)
        return found[key]

    file.seek(start)
    rebuilding = Rebuilding()
    result = read(file, storage, rebuilding, weights_only, encoding)
    rebuilding.finish()
    return result


def _storages(file: io.BytesIO, keys: Any, kinds: dict[str, np.dtype], little: bool) -> dict[str, np.ndarray]:
    """The elements behind the pickles."""
    _args.check(isinstance(keys, list), "load(): expected the keys of the storages, got something else", RuntimeError)
    content, found = file.getbuffer(), {}
    at = file.tell()
    for key in keys:
        _args.check(key in kinds, f"load(): expected storages that tensors use, got {key!r:.100}", RuntimeError)
        dtype = kinds[key]
        count = _COUNT.unpack(content[at : at + 8])[0] if at + 8 <= len(content) else -1
        stop = at + 8 + count * dtype.itemsize
        _args.check(
            count >= 0 and stop <= len(content), f"load(): expected all of storage {key}: cut short", RuntimeError
        )
        data = np.frombuffer(content[at + 8 : stop].tobytes(), dtype)
        found[key] = data if little == (sys.byteorder == "little") else data.byteswap()
        at = stop
    return found
