"""torch's file format since 1.6: a zip archive, uncompressed, of one pickle and one entry for each storage."""

import io
import struct
import sys
import zipfile
import zlib
from typing import Any

import numpy as np

from jtorch.ops import _args
from jtorch.serialization.pickling import Writer, parts_of, read
from jtorch.serialization.places import Places
from jtorch.serialization.storages import Rebuilding, Storage, dtype_of

_ALIGNMENT = 64
_HEADER = struct.Struct("<4s5H3L2H")  # of an entry, before its name


def save(obj: Any, file: Any, protocol: int, byteorder: bool) -> None:
    """Write an object to an open binary file."""
    pickled = io.BytesIO()
    writer = Writer(pickled, protocol, legacy=False)
    writer.dump(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", pickled.getbuffer())
        if byteorder:
            _add(archive, "byteorder", sys.byteorder.encode())
        for key, flat in writer.storages.items():
            _add(archive, f"data/{key}", flat.view(np.uint8).data)
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: Any) -> None:
    """Write an entry whose content begins at a multiple of 64 bytes, so that it can be mapped into memory."""
    entry = zipfile.ZipInfo(f"archive/{name}")
    start = archive.fp.tell() + _HEADER.size + len(entry.filename) + 4  # type: ignore[union-attr]
    padding = -start % _ALIGNMENT
    entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    entry.file_size = len(content)
    with archive.open(entry, "w") as target:
        target.write(content)


class Archive:
    """A zip file that is read.

    Args:
        mapped: the whole file, where its storages are to be mapped and not read.

    Raises: RuntimeError where it is no such file, or has been cut short.
    """

    def __init__(self, file: Any, mapped: np.ndarray | None = None):
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, struct.error, OverflowError, NotImplementedError) as error:
            raise RuntimeError(f"load(): expected a zip archive that is whole, got one that is not: {error}") from error
        self._file, self._mapped = file, mapped
        self._length = file.seek(0, io.SEEK_END)
        pickles = [name for name in self._zip.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        _args.check(
            len(pickles) == 1, "load(): expected a file that save() wrote, got another zip archive", RuntimeError
        )
        self._root = pickles[0].partition("/")[0]
        told = sum(entry.file_size for entry in self._zip.infolist())
        _args.check(
            told <= self._length,
            f"load(): expected at most {self._length} bytes in all entries, got {told}: some overlap, or it is cut short",
            RuntimeError,
        )
        scripted = f"{self._root}/constants.pkl" in self._zip.namelist()
        _args.check(not scripted, "load(): expected tensors and data, got a TorchScript program", RuntimeError)

    def has(self, name: str) -> bool:
        """Whether there is an entry."""
        return f"{self._root}/{name}" in self._zip.NameToInfo

    def content(self, name: str) -> Any:
        """The bytes of an entry: of a mapped file, a part of it."""
        _args.check(self.has(name), f"load(): expected an entry {name:.100} in the archive, got none", RuntimeError)
        entry = self._zip.NameToInfo[f"{self._root}/{name}"]
        stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
        _args.check(stored, f"load(): expected entries without compression, got {name} with", RuntimeError)
        inside = entry.header_offset + _HEADER.size + entry.file_size <= self._length
        _args.check(inside, f"load(): expected {entry.file_size} bytes of {name}, got fewer: cut short", RuntimeError)
        try:
            return self._zip.read(entry) if self._mapped is None else self._slice(entry)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise RuntimeError(f"load(): expected {name} to be whole, got damaged bytes: {error}") from error

    def _slice(self, entry: zipfile.ZipInfo) -> np.ndarray:
        assert self._mapped is not None
        with self._zip.open(entry):  # looks whether the header is that of the entry
            header = _HEADER.unpack(self._mapped[entry.header_offset :][: _HEADER.size].tobytes())
        start = entry.header_offset + _HEADER.size + header[-2] + header[-1]
        part = self._mapped[start : start + entry.file_size]
        if len(part) != entry.file_size or zlib.crc32(part.data) != entry.CRC:
            raise EOFError("other bytes than were written")
        return part


def load(archive: Archive, places: Places, weights_only: bool, encoding: str) -> Any:
    """The object in an archive."""
    order = bytes(archive.content("byteorder")).decode() if archive.has("byteorder") else "little"
    _args.check(order in ("little", "big"), f"load(): expected a byte order, got {order!r}", RuntimeError)
    found: dict[str, Storage] = {}

    def storage(reference: Any) -> Storage:
        kind, key, location, count = parts_of(reference)
        if key not in found:
            content, dtype = archive.content(f"data/{key}"), dtype_of(kind)
            size = len(content)
            enough = count * dtype.itemsize == size
            _args.check(enough, f"load(): expected {count} elements of {dtype}, got {size} bytes", RuntimeError)
            data = np.frombuffer(content, dtype)
            data = data if order == sys.byteorder else data.byteswap()
            found[key] = places.of(Storage(data, None), location)
        return found[key]

    rebuilding = Rebuilding()
    result = read(io.BytesIO(bytes(archive.content("data.pkl"))), storage, rebuilding, weights_only, encoding)
    rebuilding.finish()
    return result
