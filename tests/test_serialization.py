"""Files: what PyTorch wrote is read here and the reverse; and files that lie, ask for more than data, or end too soon."""

import collections
import io
import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import parity
import pytest
import torch

import jtorch
from benchmarks import models
from jtorch import serialization

ROOT = pathlib.Path(__file__).parent.parent
DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128"]  # fmt: skip
NEWER = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def written(library, obj, zipped=True, **options):
    """A file with an object, at its start."""
    file = io.BytesIO()
    library.save(obj, file, _use_new_zipfile_serialization=zipped, **options)
    file.seek(0)
    return file


def program(*arguments, **environment):
    """What a program prints, as JSON; torch is not imported by jtorch."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run([sys.executable, *map(str, arguments)], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of_torch(dtypes=DTYPES):
    """An object with tensors of torch in many forms."""
    x = torch.arange(6.0).reshape(2, 3)
    layer = torch.nn.Linear(3, 2)
    return {
        **{name: torch.tensor([[0, 1], [2, 3]]).to(getattr(torch, name)) for name in dtypes},
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "x": x,
        "transposed": x.t(),
        "part": x[1, 1:],
        "expanded": torch.ones(1).expand(4),
        "conjugate": torch.tensor([1 + 2j, 3j]).conj(),
        "parameter": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "wants gradients": torch.ones(2, requires_grad=True),
        "state": layer.state_dict(),
        "nested": [(1, 2.5, None, True, "text", 2**70), {"deep": [torch.ones(1)]}],
        "others": [torch.Size([2, 3]), torch.float16, torch.device("cpu"), {1, 2}, b"bytes", bytearray(b"more")],
        "counted": collections.Counter("aab"),
    }


@FORMATS
def test_reads_what_torch_wrote(zipped):
    theirs = of_torch(DTYPES + NEWER if zipped else DTYPES)
    ours = jtorch.load(written(torch, theirs, zipped))
    assert ours.keys() == theirs.keys()
    for name in [*DTYPES, *(NEWER if zipped else ()), "scalar", "empty", "x", "transposed", "part", "expanded"]:
        mine, yours = ours[name], theirs[name]
        assert str(mine.dtype) == str(yours.dtype) and tuple(mine.shape) == tuple(yours.shape)
        assert tuple(mine.stride()) == yours.stride(), name
        assert np.asarray(mine).astype(complex).tolist() == yours.to(torch.complex128).tolist()
    for name in ("conjugate", "parameter", "wants gradients", "state", "nested"):
        parity.same(
            list(ours[name].values()) if name == "state" else ours[name] if name != "nested" else ours[name][1]["deep"],
            list(theirs[name].values())
            if name == "state"
            else theirs[name]
            if name != "nested"
            else theirs[name][1]["deep"],
            name,
        )
    assert isinstance(ours["parameter"], jtorch.nn.Parameter)
    assert ours["state"]._metadata == theirs["state"]._metadata
    assert ours["nested"][0] == theirs["nested"][0] and ours["counted"] == theirs["counted"]
    assert ours["others"] == [
        jtorch.Size([2, 3]),
        jtorch.float16,
        jtorch.device("cpu"),
        {1, 2},
        b"bytes",
        bytearray(b"more"),
    ]


@FORMATS
def test_torch_reads_what_is_written(zipped):
    theirs = of_torch(DTYPES + NEWER if zipped else DTYPES)
    back = torch.load(written(jtorch, jtorch.load(written(torch, theirs, zipped)), zipped), weights_only=True)
    assert back.keys() == theirs.keys()
    for name, value in theirs.items():
        if isinstance(value, torch.Tensor):
            assert back[name].dtype == value.dtype and back[name].stride() == value.stride()
            assert type(back[name]) is type(value) and back[name].requires_grad == value.requires_grad
            assert back[name].to(torch.complex128).tolist() == value.to(torch.complex128).tolist()
    assert back["state"]._metadata == theirs["state"]._metadata and back["others"] == theirs["others"]
    assert back["transposed"].untyped_storage().data_ptr() == back["part"].untyped_storage().data_ptr()


@FORMATS
def test_tensors_share_memory_again(zipped):
    x = jtorch.arange(6.0).reshape(2, 3)
    tied = jtorch.nn.Parameter(jtorch.ones(2))
    obj = {"part": x[1], "x": x, "columns": x.t(), "tied": [tied, tied], "data": tied.data, "alone": jtorch.zeros(3)}
    back = jtorch.load(written(jtorch, obj, zipped))
    back["columns"].mul_(10)
    back["x"][1, 0] = -1
    assert back["part"].tolist() == [-1, 40, 50] and back["x"].tolist() == [[0, 10, 20], [-1, 40, 50]]
    assert back["tied"][0] is back["tied"][1] and back["tied"][0].is_leaf and back["tied"][0].requires_grad
    back["data"].fill_(7)
    assert back["tied"][0].tolist() == [7, 7] and back["alone"].tolist() == [0, 0, 0]


def test_a_training_run_resumes_from_torchs_checkpoint_and_back():
    def parts(library):
        library.manual_seed(0)
        model = library.nn.Sequential(
            library.nn.Linear(3, 4, bias=False), library.nn.BatchNorm1d(4), library.nn.Linear(4, 1)
        )
        return model, library.optim.Adam(model.parameters(), lr=0.1, amsgrad=True)

    def steps(library, model, optimizer):
        for i in range(3):
            optimizer.zero_grad()
            x = library.tensor(np.random.default_rng(i).normal(size=(5, 3)).astype(np.float32))
            model(x).square().mean().backward()
            optimizer.step()
        return [p.tolist() for p in model.state_dict().values()]

    def checkpoint(library, model, optimizer):
        return written(library, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})

    theirs, ours = parts(torch), parts(jtorch)
    steps(torch, *theirs)
    saved = jtorch.load(checkpoint(torch, *theirs))
    ours[0].load_state_dict(saved["model"])
    ours[1].load_state_dict(saved["optimizer"])
    np.testing.assert_allclose(*(np.concatenate([np.ravel(p) for p in steps(*a)]) for a in ((torch, *theirs), (jtorch, *ours))), rtol=1e-4, atol=1e-6)  # fmt: skip
    saved = torch.load(checkpoint(jtorch, *ours), weights_only=True)
    theirs[0].load_state_dict(saved["model"])
    theirs[1].load_state_dict(saved["optimizer"])
    np.testing.assert_allclose(*(np.concatenate([np.ravel(p) for p in steps(*a)]) for a in ((torch, *theirs), (jtorch, *ours))), rtol=1e-4, atol=1e-6)  # fmt: skip


WITHOUT_TORCH = """
import json, sys, jtorch
import jtorch.nn.functional as F
from benchmarks.models import resnet18
model = resnet18(jtorch.nn, F)
optimizer = jtorch.optim.AdamW(model.parameters())
scheduler = jtorch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, 10)
parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
for form in ("zip", "legacy"):
    found = jtorch.load(f"{sys.argv[1]}/{form}.pt")
    for name, part in parts.items():
        part.load_state_dict(found.pop(name))
    obj = found | {name: part.state_dict() for name, part in parts.items()}
    jtorch.save(obj, f"{sys.argv[1]}/{form}.back.pt", _use_new_zipfile_serialization=form == "zip")
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] == "torch")))
"""


def test_a_whole_run_goes_there_and_back_without_torch(tmp_path):
    """ResNet-18 with its optimizer and scheduler, and every dtype, read and written by a process that has no torch."""
    model = models.resnet18(torch.nn, torch.nn.functional)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, 10)
    for p in model.parameters():
        p.grad = torch.randn(()).expand(p.shape)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    scheduler = scheduler.state_dict()
    run = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler}
    theirs = {"zip": of_torch(DTYPES + NEWER) | run, "legacy": of_torch() | run}
    for form, obj in theirs.items():
        torch.save(obj, tmp_path / f"{form}.pt", _use_new_zipfile_serialization=form == "zip")
    assert program("-c", WITHOUT_TORCH, tmp_path, JAX_ENABLE_X64="1") == []
    for form, obj in theirs.items():
        same_in_torch(torch.load(tmp_path / f"{form}.back.pt", weights_only=True), obj)


def same_in_torch(got, expected):
    """The same structure, and the same bits in tensors of the same kind."""
    if isinstance(expected, torch.Tensor):
        assert type(got) is type(expected) and got.dtype == expected.dtype and got.stride() == expected.stride()
        assert got.requires_grad == expected.requires_grad and got.shape == expected.shape
        bits = [t.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8) for t in (got, expected)]
        assert torch.equal(*bits)
    elif isinstance(expected, dict):
        assert type(got) is type(expected) and list(got) == list(expected)
        assert getattr(got, "_metadata", None) == getattr(expected, "_metadata", None)
        for name in expected:
            same_in_torch(got[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert type(got) is type(expected) and len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            same_in_torch(mine, theirs)
    else:
        assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize("to", ["cpu", {"cuda:0": "cpu"}, lambda storage, place: storage, jtorch.device("cpu")])
def test_map_location(to):
    file = written(torch, {"x": torch.ones(2)}, False)
    moved = io.BytesIO(file.getvalue().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    with pytest.raises(RuntimeError, match="map_location"):
        jtorch.load(moved)
    moved.seek(0)
    assert jtorch.load(moved, map_location=to)["x"].tolist() == [1, 1]


def test_files_at_paths(tmp_path):
    path = tmp_path / "x.pt"
    jtorch.save({"x": jtorch.arange(1000.0)}, path)
    assert jtorch.load(str(path))["x"].sum().item() == 499500
    assert jtorch.load(path, mmap=True)["x"][-1].item() == 999
    assert torch.load(path, mmap=True)["x"].sum().item() == 499500
    with open(path, "rb") as file, pytest.raises(ValueError, match="filename"):
        jtorch.load(file, mmap=True)
    with pytest.raises(RuntimeError, match="Parent directory"):
        jtorch.save(1, tmp_path / "missing" / "x.pt")
    with pytest.raises(FileNotFoundError):
        jtorch.load(tmp_path / "none.pt")


def test_a_failing_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    jtorch.save(1, path)
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        jtorch.save({"x": jtorch.ones(3), "bad": lambda: None}, path)
    assert jtorch.load(path) == 1 and os.listdir(tmp_path) == ["x.pt"]


def test_whole_modules_are_read_where_the_file_is_trusted():
    model = jtorch.nn.Sequential(jtorch.nn.Linear(2, 2), jtorch.nn.ReLU())
    file = written(jtorch, model)
    with pytest.raises(pickle.UnpicklingError, match="weights_only=False"):
        jtorch.load(file)
    file.seek(0)
    back = jtorch.load(file, weights_only=False)
    x = jtorch.ones(1, 2)
    assert back(x).tolist() == model(x).tolist() and isinstance(back[0].weight, jtorch.nn.Parameter)
    with pytest.raises(pickle.UnpicklingError, match="state_dict"):
        jtorch.load(written(torch, torch.nn.Linear(1, 1)), weights_only=False)


class Settings:
    """A class of a user."""

    def __init__(self, rate):
        self.rate = rate


def test_a_user_may_allow_a_class():
    file = written(jtorch, Settings(0.5))
    with pytest.raises(pickle.UnpicklingError, match="add_safe_globals"):
        jtorch.load(file)
    with serialization.safe_globals([Settings]):
        file.seek(0)
        assert jtorch.load(file).rate == 0.5 and serialization.get_safe_globals() == [Settings]
    assert serialization.get_safe_globals() == []


# files that are not what they say


def rewritten(change, obj=None):
    """A zip file with its pickle or its entries changed: `change(name, content)`."""
    before = zipfile.ZipFile(written(torch, {"x": torch.arange(8.0)} if obj is None else obj))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as after:
        for name in before.namelist():
            after.writestr(name, change(name, before.read(name)))
    file.seek(0)
    return file


ATTACKS = {
    "a command": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "an evaluation": b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    "a way to attributes": b"\x80\x02cbuiltins\ngetattr\n.",
    "a module of ours": b"\x80\x02cjtorch._tensor\nTensor\n.",
    "a long bytearray": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",
    "a new dtype's name": b"\x80\x02ctorch\nfloat32\n}X\x04\x00\x00\x00nameX\x01\x00\x00\x00ys\x86b.",
    "a state for a dtype": b"\x80\x02ctorch\nfloat32\n(N}X\x04\x00\x00\x00nameX\x01\x00\x00\x00ystb.",
    "an attribute of a class": b"\x80\x02ctorch\nSize\n(N}X\x05\x00\x00\x00numelK\x01stb.",
    "a big tensor": b"\x80\x02ctorch\nTensor\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R\x85\x81.",
    "an extension": b"\x80\x02\x82\x01.",
    "an object's class": b"\x80\x02(i__main__\nx\n.",
    "a far memo": b"\x80\x02K\x01j\xff\xff\xff\xff.",
    "a long text": b"\x80\x04\x8d\x00\x00\x00\x00\x00\x00\x00\x10abc.",
    "many bytes": b"\x80\x05\x96\x00\x00\x00\x00\x00\x00\x00\x10abc.",
    "nothing": b"",
    "an empty stack": b"\x80\x02.",
    "a method of a dictionary": b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.",
    "elements of a class": b"\x80\x02ccollections\nOrderedDict\nK\x01K\x02s.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_but_data_is_built(name):
    file = rewritten(lambda entry, content: ATTACKS[name] if entry.endswith("data.pkl") else content)
    with pytest.raises(pickle.UnpicklingError, match=r"load\(\)|Memo|pickle"):
        jtorch.load(file)
    assert jtorch.float32.name == "float32" and callable(jtorch.Size.numel)


def test_protocol_4_hides_nothing():
    hidden = pickle.dumps(os.system, 4)
    file = rewritten(lambda entry, content: hidden if entry.endswith("data.pkl") else content)
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        jtorch.load(file)


LIES = {
    "more elements": (b"K\x08tq\x07QK\x00K\x08", b"K\xfftq\x07QK\x00K\x08"),
    "a longer tensor": (b"QK\x00K\x08\x85", b"QK\x00K\xff\x85"),
    "an offset": (b"QK\x00K\x08\x85", b"QK\x05K\x08\x85"),
    "a wider stride": (b"K\x01\x85q\x09", b"K\x02\x85q\x09"),
    "billions of the same": (b"QK\x00K\x08\x85q\x08K\x01\x85", b"QK\x00J\xff\xff\xff\x7f\x85q\x08K\x00\x85"),
    "a negative size": (b"QK\x00K\x08\x85", b"QK\x00J\xff\xff\xff\xff\x85"),
    "another dtype": (b"FloatStorage", b"DoubleStorage"),
    "an unknown dtype": (b"FloatStorage", b"QInt8Storage"),
    "another storage": (b"X\x01\x00\x00\x000q", b"X\x01\x00\x00\x009q"),
}


@pytest.mark.parametrize("name", LIES)
def test_sizes_are_compared_with_the_file(name):
    old, new = LIES[name]

    def change(entry, content):
        if entry.endswith("data.pkl"):
            assert old in content
            content = content.replace(old, new)
        return content

    with pytest.raises((RuntimeError, pickle.UnpicklingError), match=r"load\(\)"):
        jtorch.load(rewritten(change))


def test_a_zip_that_lies_of_an_entrys_size_is_refused():
    whole = bytearray(written(jtorch, {"x": jtorch.arange(8.0)}).getvalue())
    entries = [i for i in range(len(whole)) if whole[i : i + 4] == b"PK\x01\x02"]
    assert len(entries) == 4
    for entry in entries:
        struct.pack_into("<LL", whole, entry + 20, 2**31, 2**31)
    with pytest.raises(RuntimeError, match="cut short"):
        jtorch.load(io.BytesIO(whole))


def test_changed_files_give_errors_only(tmp_path):
    """Hundreds of files that are cut, flipped, hostile, bombs or lies: no code is run, memory and time are bounded."""
    from safetensors.torch import save_file

    x = torch.randn(4, 6)
    obj = {
        "x": x, "model": torch.nn.Linear(5, 3).state_dict(), "half": torch.randn(300).half(), "part": x[1:3], "t": x.t(),
        "nested": [1, 2.5, None, "text"], "p": torch.nn.Parameter(torch.ones(2)), "b": torch.tensor([True, False]),
        "bf": torch.ones(7).bfloat16(),
    }  # fmt: skip
    torch.save(obj, tmp_path / "zip.pt")
    torch.save(obj, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file({"weight": torch.randn(3, 5), "half": torch.randn(30).half()}, tmp_path / "x.safetensors")
    result = program(ROOT / "tests" / "hostile.py", tmp_path)
    assert sum(result["counts"].values()) >= 600 and min(result["counts"].values()) > 0
    assert not result["wrong"] and result["slowest"] < 10


def test_what_jax_has_not_is_refused():
    with pytest.raises(NotImplementedError, match="sparse"):
        jtorch.load(written(torch, torch.eye(2).to_sparse()))
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    with pytest.raises((NotImplementedError, RuntimeError), match=r"quantized|QInt8"):
        jtorch.load(written(torch, quantized))


def test_safetensors(tmp_path):
    from safetensors.torch import load_file, save_file

    path, layer = tmp_path / "x.safetensors", torch.nn.Linear(3, 2)
    save_file(layer.state_dict() | {"half": torch.ones(2, dtype=torch.bfloat16)}, path)
    tensors = serialization.safetensors.load_file(path)
    parity.same(
        [tensors[k] for k in ("weight", "half")], [layer.weight.detach(), torch.ones(2, dtype=torch.bfloat16)], "x"
    )
    serialization.safetensors.save_file(tensors, path, {"made": "here"})
    assert torch.equal(load_file(path)["weight"], layer.weight)
    with pytest.raises(RuntimeError, match="clone"):
        serialization.safetensors.save_file({"a": tensors["weight"], "b": tensors["weight"].t()}, path)
