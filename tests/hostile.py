"""Files that lie, each from one that is sound by a change with a fixed seed, and a program that reads them all.

`python hostile.py FOLDER` reads the sound files `zip.pt`, `legacy.pt` and `x.safetensors` there and prints, as JSON, how
many changed files it read, by kind, and what went wrong. PyTorch does not take part: importing it would be noticed.
"""

import collections
import io
import json
import pickle
import random
import resource
import signal
import struct
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np

import jtorch

ERROR, SAME, ANY = "an error", "an error or the same data", "an error or any data"
MEMORY = 600 * 2**20
"""What a file of less than a megabyte may make the process grow by, 256 MiB of tensors among it."""
SECONDS = 10


# changes of bytes


def cut(whole, stream, count):
    """Files that end too soon."""
    for _ in range(count):
        yield "cut", whole[: stream.randrange(len(whole))]


def flipped(whole, stream, count):
    """Files in which a bit or some are others."""
    for _ in range(count):
        made = bytearray(whole)
        for _ in range(stream.choice((1, 1, 1, 4))):
            made[stream.randrange(len(made))] ^= 1 << stream.randrange(8)
        yield "flipped", bytes(made)


def moved(whole, stream, count):
    """Files of which a part is gone, doubled, empty or noise."""
    for _ in range(count):
        start = stream.randrange(len(whole))
        part = whole[start : start + stream.choice((1, 8, 64, 500))]
        put = stream.choice((b"", part + part, bytes(len(part)), stream.randbytes(len(part))))
        if put != part:
            yield "moved", whole[:start] + put + whole[start + len(part) :]


# archives


def archive(entries, compression=zipfile.ZIP_STORED):
    """A zip file of entries, by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in entries:
            made.writestr(name, content)
    return file.getvalue()


def entries_of(whole):
    """The entries of a zip file."""
    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        return {name: found.read(name) for name in found.namelist()}


def with_pickle(whole, pickled):
    """An archive with another pickle, whose sums are right."""
    return archive([(n, pickled if n.endswith("data.pkl") else c) for n, c in entries_of(whole).items()])


def overlapping(whole, count=500):
    """An archive whose storages all are the same bytes, each with a name of its own: storages inside storages."""
    root = next(iter(entries_of(whole))).partition("/")[0]
    names = [f"{root}/data/{i}" for i in range(count)]
    tail, entries = bytes(100_000), []
    for name in reversed(names):
        head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(tail), len(tail), len(tail), len(name), 0)
        entries.append((name, len(tail), zlib.crc32(tail)))
        tail = head + name.encode() + tail
    kind = b"ctorch\nByteStorage\n"
    tensors = b"".join(tensor(kind, str(i), entries[-1 - i][1], 0, (entries[-1 - i][1],), (1,)) for i in range(count))
    pickled = b"\x80\x02(" + tensors + b"l."
    first = archive([(f"{root}/data.pkl", pickled)])
    end = first.index(b"PK\1\2")
    body, central = first[:end], first[end : first.index(b"PK\5\6")]
    at = len(body) + len(tail)
    for name, size, crc in entries:
        at_entry = len(body) + len(tail) - size - 30 - len(name)
        central += struct.pack(
            "<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0, crc, size, size, len(name), 0, 0, 0, 0, 0, at_entry
        ) + name.encode()  # fmt: skip
    stop = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count + 1, count + 1, len(central), at, 0)
    return body + tail + central + stop


# pickles


def text(value):
    """A text in a pickle."""
    return b"X" + struct.pack("<L", len(value.encode())) + value.encode()


def whole_number(value):
    """A whole number in a pickle."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(kind, key, count, offset, size, stride):
    """A tensor in a pickle."""
    reference = b"(" + text("storage") + kind + text(key) + text("cpu") + whole_number(count) + b"tQ"
    shape = b"(" + b"".join(map(whole_number, size)) + b"t(" + b"".join(map(whole_number, stride)) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + whole_number(offset) + shape + b"\x89)tR"


FLOATS = b"ctorch\nFloatStorage\n"


def hostile(marker):
    """Pickles that ask for more than data, or for endless data. What runs code writes to the file `marker`."""
    command = f"open({str(marker)!r}, 'w').write('run')"
    called = lambda name, *args: b"c" + name + b"\n(" + b"".join(map(text, args)) + b"tR"
    yield from (
        b"\x80\x02" + called(name, command) + b"."
        for name in (b"builtins\nexec", b"builtins\neval", b"__builtin__\nexec", b"os\nsystem", b"posix\nsystem")
    )
    yield from (
        b"\x80\x02" + called(b"builtins\ncompile", command, "x", "exec") + b".",
        b"\x80\x02" + called(b"builtins\n__import__", "antigravity") + b".",
        b"\x80\x02" + called(b"importlib\nimport_module", "this") + b".",
        b"\x80\x02" + called(b"builtins\nopen", str(marker), "w") + b".",
        b"\x80\x02" + called(b"pathlib\nPath", str(marker)) + b".",
        b"\x80\x02" + called(b"shutil\nrmtree", str(marker)) + b".",
        b"\x80\x02" + called(b"subprocess\ngetoutput", f"touch {marker}") + b".",
        b"\x80\x02" + called(b"pickle\nloads", "x") + b".",
        b"\x80\x02" + called(b"torch\nload", "x") + b".",
        b"\x80\x02" + called(b"torch.serialization\nload", "x") + b".",
        b"\x80\x02" + called(b"torch.hub\nload", "x") + b".",
        b"\x80\x02" + called(b"jtorch\nload", "x") + b".",
        b"\x80\x02" + called(b"jtorch.serialization\nadd_safe_globals", "x") + b".",
        b"\x80\x02" + called(b"torch.serialization\nadd_safe_globals", "x") + b".",
        b"\x80\x02" + called(b"numpy\nload", "x") + b".",
        b"\x80\x02" + called(b"functools\npartial", "x") + b".",
        b"\x80\x02" + called(b"operator\nattrgetter", "system") + b".",
        b"\x80\x02cos\nsystem\n" + text("x") + b"\x85\x81.",
        b"\x80\x04" + text("os") + text("system") + b"\x93" + text(command) + b"\x85R.",
        b"\x80\x02(" + text(command) + b"i__builtin__\nexec\n.",
        b"\x80\x02(cbuiltins\nexec\n" + text(command) + b"o.",
        b"\x80\x02ccollections\nOrderedDict\n)R}" + text("__class__") + b"cbuiltins\nexec\nsb.",
        b"\x80\x02ccollections\nOrderedDict\n)R}" + text("__reduce__") + b"K\x01sb.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch\nTensor\n)R.",
        b"\x80\x02cbuiltins\nbytearray\n" + whole_number(2**40) + b"\x85R.",
        b"\x80\x02cbuiltins\nset\n" + whole_number(2**40) + b"\x85R.",
        b"\x80\x02ctorch\nSize\n" + whole_number(2**40) + b"\x85R.",
        b"\x80\x02ctorch\nTensor\n" + whole_number(2**40) + b"\x85R.",
        b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s.",  # tuples in tuples, hashed
        b"\x80\x02cbuiltins\nfrozenset\n](" + b")" + b"\x85" * 300_000 + b"e\x85R.",
        b"\x80\x02" + b"(" * 300_000 + b".",
        b"\x80\x02I" + b"9" * 300_000 + b"\n.",
        b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
        b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"\x80\x02r\xff\xff\xff\xffN.",
        b"\x80\xff.",
        b".",
        b"\x80\x02N",
    )


def lies(key, count):
    """Pickles with tensors that a storage of `count` floats does not have, or that are endlessly many."""
    far = (2**31 - 1, 2**40, 2**62, 2**63, 2**64 + 1, -1)
    one = lambda *args: b"\x80\x02" + tensor(*args) + b"."
    yield from (one(FLOATS, key, n, 0, (2,), (1,)) for n in (*far, count - 1, count + 1, 0))
    yield from (one(FLOATS, key, count, n, (2,), (1,)) for n in (*far, count - 1))
    yield from (one(FLOATS, key, count, 0, (n,), (1,)) for n in (*far, count + 1))
    yield from (one(FLOATS, key, count, 0, (2,), (n,)) for n in (*far, count))
    yield from (one(FLOATS, key, count, 0, (n, n), (0, 0)) for n in (2**31 - 1, 2**40))
    yield one(FLOATS, key, count, 0, (2**32, 2**32), (0, 0))  # 2**64 elements, 0 in 64 bits
    yield one(FLOATS, key, count, 0, (2, 2), (1,))
    yield one(b"ctorch\nDoubleStorage\n", key, count, 0, (2,), (1,))
    yield one(b"ctorch\nQInt8Storage\n", key, count, 0, (2,), (1,))
    yield one(b"ctorch\nNoStorage\n", key, count, 0, (2,), (1,))
    for other in ("99", "", "../data.pkl", "../../../../etc/passwd", "/etc/passwd", "..\\..\\x", "0\0", "a" * 70000):
        yield one(FLOATS, other, count, 0, (2,), (1,))
    many = [tensor(FLOATS, key, count, 0, (2**20, n + 1), (0, 0)) for n in range(400)]
    yield b"\x80\x02(" + b"".join(many) + b"l."
    windows = [tensor(FLOATS, key, count, i, (8_000_000,), (0,)) for i in range(count)]
    yield b"\x80\x02(" + b"".join(windows) + b"l."


# the corpus


def zips(whole, marker, stream):
    """Archives, by kind, with what may come of each."""
    for what, made in (*cut(whole, stream, 30),):
        yield what, made, ERROR
    for what, made in (*flipped(whole, stream, 90), *moved(whole, stream, 40)):
        yield what, made, SAME
    entries = entries_of(whole)
    pickled = next(c for n, c in entries.items() if n.endswith("data.pkl"))
    root = next(iter(entries)).partition("/")[0]
    for _, made in (*flipped(pickled, stream, 50), *moved(pickled, stream, 20), *cut(pickled, stream, 10)):
        yield "pickles changed", with_pickle(whole, made), ANY
    for made in hostile(marker):
        yield "hostile pickles", with_pickle(whole, made), ERROR
    for made in lies("0", 24):
        yield "sizes", with_pickle(whole, made), ERROR
    yield "bombs", archive(entries.items(), zipfile.ZIP_DEFLATED), ERROR
    bomb = entries | {f"{root}/data/0": bytes(300 * 2**20)}
    yield "bombs", archive(bomb.items(), zipfile.ZIP_DEFLATED), ERROR
    bomb = entries | {f"{root}/data.pkl": b"\x80\x02" + b"N" * (300 * 2**20) + b"."}
    yield "bombs", archive(bomb.items(), zipfile.ZIP_DEFLATED), ERROR
    yield "bombs", archive(bomb.items(), zipfile.ZIP_BZIP2), ERROR
    yield "bombs", overlapping(whole), ERROR
    yield "bombs", archive([(f"{root}/{i}", b"") for i in range(20_000)]), ERROR
    for change in (2**31, 2**32 - 1):
        for field in (20, 24, 42):  # two sizes and a place in the directory
            made = bytearray(whole)
            for at in (i for i in range(len(made)) if made[i : i + 4] == b"PK\1\2"):
                struct.pack_into("<L", made, at + field, change)
            yield "sizes", bytes(made), ERROR
    for name in ("../data.pkl", "/data.pkl", "a/../../data.pkl", "C:\\x/data.pkl"):
        yield "paths", archive([(name, pickled)]), ERROR
    yield "paths", archive([*entries.items(), ("other/data.pkl", pickled)]), ERROR
    yield "paths", archive([(f"../../{n}", c) for n, c in entries.items()]), ERROR
    yield "paths", archive([*entries.items(), (f"../../../{marker.name}", b"x")]), SAME


def olds(whole, marker, stream):
    """Files of the older format, which has no sums to check bytes by."""
    for what, made in cut(whole, stream, 30):
        yield what, made, ERROR
    for what, made in (*flipped(whole, stream, 60), *moved(whole, stream, 30)):
        yield what, made, ANY
    parts = [io.BytesIO(whole)]
    head = b"".join(pickle.dumps(pickle.load(parts[0]), 2) for _ in range(3))
    storage = pickle.dumps(["0"], 2) + struct.pack("<q", 24) + np.arange(24, dtype=np.float32).tobytes()
    for what, found in (("hostile pickles", hostile(marker)), ("sizes", lies("0", 24))):
        for made in found:
            yield what, head + made + storage, ERROR
    for count in (-1, 23, 25, 2**40, 2**62, -(2**63)):
        yield "sizes", head + pickle.dumps(["0"], 2) + struct.pack("<q", count) + bytes(96), ERROR


def safe(whole, marker, stream):
    """Files of safetensors: the header is JSON, and the data have no sum."""
    length = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    for what, made in cut(whole, stream, 20):
        yield what, made, ERROR
    for what, made in (*flipped(whole[: 8 + length], stream, 40), *moved(whole[: 8 + length], stream, 20)):
        yield what, made + data, ANY
    name = next(iter(n for n in header if n != "__metadata__"))

    def lying(**fields):
        changed = {**header, name: header[name] | fields}
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + data

    sizes = (-1, 2**31, 2**40, 2**63, 2**64)
    for fields in (
        *({"shape": [n]} for n in sizes), *({"data_offsets": [0, n]} for n in sizes), {"shape": [2**32, 2**32]},
        *({"data_offsets": [n, n + 8]} for n in sizes), {"data_offsets": [8, 0]}, {"data_offsets": [0]},
        {"dtype": "F64"}, {"dtype": "F9"}, {"dtype": None}, {"shape": None}, {"shape": "1"}, {"shape": [1.5]},
    ):  # fmt: skip
        yield "sizes", lying(**fields), ERROR
    for size in (2**63, 2**64 - 1, 2**40, 0, 1):
        yield "sizes", struct.pack("<Q", size) + whole[8:], ERROR
    for text in (
        b"",
        b"[]",
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":null}',
        b'{"__metadata__":{"a":[1]}}',
        b"\xff" * 64,
    ):
        yield "hostile headers", struct.pack("<Q", len(text)) + text + data, ERROR


# reading


def plain(value):
    """A value in a form that compares."""
    if isinstance(value, jtorch.Tensor):
        return str(value.dtype), tuple(value.shape), np.asarray(value.detach()).tobytes()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else repr(value)


ALLOWED = (RuntimeError, pickle.UnpicklingError, NotImplementedError, EOFError)


def outcome(read, sound, limit):
    """What is wrong with how a file was read, or None."""
    signal.alarm(SECONDS)
    try:
        found = plain(read())
    except ALLOWED as error:
        return "an error without a text" if not str(error) else None
    except Exception as error:
        return None if type(error).__name__ == "SafetensorError" else f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.alarm(0)
    if limit == ERROR:
        return "no error"
    return "other data than were written" if limit == SAME and found != sound else None


def watch(events):
    """Note what a file that is read could do to the world."""

    def hook(event, args):
        if event == "import" and args[0].partition(".")[0] == "torch":
            events.append("import torch")
        if event.split(".")[0] in ("os", "subprocess", "shutil", "socket", "ctypes", "pty") or event in (
            "exec",
            "compile",
        ):
            events.append(f"{event}{args!r:.200}")

    for codec in ("cp437", "raw_unicode_escape"):  # Python imports them when it first needs them
        "".encode(codec)
    sys.addaudithook(hook)


def used():
    """The address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(folder: Path) -> None:
    """Read everything."""
    counts, wrong, events, slowest = collections.Counter(), [], [], 0.0
    path, marker = folder / "changed", folder / "marker"
    readers = {
        "zip.pt": (zips, lambda: jtorch.load(path), lambda: jtorch.load(path, mmap=True)),
        "legacy.pt": (olds, lambda: jtorch.load(path)),
        "x.safetensors": (safe, lambda: jtorch.serialization.safetensors.load_file(path)),
    }
    watch(events)
    for name, (make, *reads) in readers.items():
        whole = (folder / name).read_bytes()
        path.write_bytes(whole)
        sound = plain(reads[0]())
        assert all(plain(read()) == sound for read in reads)
        for what, made, limit in make(whole, marker, random.Random(0)):
            path.write_bytes(made)
            counts[f"{name}: {what}"] += 1
            resource.setrlimit(resource.RLIMIT_AS, (used() + MEMORY, resource.RLIM_INFINITY))
            for read in reads:
                before = len(events), time.perf_counter()
                problem = outcome(read, sound, limit)
                slowest = max(slowest, time.perf_counter() - before[1])
                if problem or len(events) > before[0]:
                    wrong.append([name, what, counts[f"{name}: {what}"], problem, events[before[0] :][:3]])
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    wrong += [["code was run"]] if marker.exists() or "torch" in sys.modules else []
    print(json.dumps({"counts": counts, "wrong": wrong, "slowest": slowest}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
