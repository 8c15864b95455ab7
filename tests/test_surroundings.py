"""What stands around models in people's files: TorchScript's marks, process groups, downloads, import paths, old types."""

import hashlib
import importlib
import io

import parity
import pytest
import torch as pytorch

import jtorch

SCRIPTS: list = []
script = parity.scripts(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_script(script):
    parity.agree(script)


@script
def marked_for_torchscript(torch):
    jit, nn = torch.jit, torch.nn

    class Net(nn.Module):
        __constants__ = ("scale",)
        scale: jit.Final[float]

        def __init__(self):
            super().__init__()
            self.scale = 2.0

        @jit.ignore
        def ignored(self, x):
            return x + 1

        @jit.unused
        def unused(self, x):
            return x + 1

        @jit.ignore(drop=True)
        def dropped(self, x):
            return x + 1

        @jit.export
        def exported(self, x: torch.Tensor) -> torch.Tensor:
            return x * 3

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not jit.is_scripting() and not jit.is_tracing():
                x = self.dropped(self.unused(self.ignored(x)))
            return x * jit.annotate(float, self.scale)

    x = torch.arange(3.0)
    return Net()(x), Net().exported(x), jit.isinstance(x, (int, torch.Tensor))


@script
def asked_of_process_groups(torch):
    dist = torch.distributed
    ready = dist.is_initialized()
    return ready, dist.get_rank() if ready else 0, not ready or dist.get_world_size(), dist.is_torchelastic_launched()


for _name in ("get_rank", "get_world_size", "barrier", "get_backend"):

    @script
    def without_process_group(torch, name=_name):
        return getattr(torch.distributed, name)()


@script
def old_constructors(torch):
    x = torch.ones(2, dtype=torch.float32)
    made = [
        torch.FloatTensor(2, 3).zero_(), torch.LongTensor([1, 2]), torch.FloatTensor(torch.Size([2])).zero_(),
        torch.FloatTensor((2, 3)), torch.IntTensor(), x.new([1, 2]), x.new(2, 1).zero_(), x.new(x.size()).fill_(1),
        x.long().new([3]), x.to_dense(), x.type(torch.DoubleTensor), torch.ShortTensor([1]),
    ]  # fmt: skip
    kinds = [isinstance(x, kind) for kind in (torch.FloatTensor, torch.LongTensor, torch.Tensor)]
    return made, kinds, isinstance(torch.LongTensor | None, type(int | None)), x.float().type()


@script
def one_op_on_many_tensors(torch):
    make = lambda: [torch.arange(1.0, 4.0), torch.tensor([[2.0, -1.0]])]
    a, b, seen = make(), make(), []
    seen += torch._foreach_add(a, b, alpha=2) + torch._foreach_mul(a, 3.0) + torch._foreach_div(a, [2.0, 4.0])
    seen += torch._foreach_norm(a) + torch._foreach_neg(a) + torch._foreach_maximum(a, b) + torch._foreach_pow(a, 2)
    seen += torch._foreach_addcmul(a, b, b, value=2) + torch._foreach_addcdiv(a, b, b, [1.0, 2.0])
    seen += torch._foreach_lerp(a, make(), 0.5) + torch._foreach_maximum(a, 1.5) + torch._foreach_sub(a, b)
    torch._foreach_mul_(a, 0.5)
    torch._foreach_add_(a, b, alpha=-0.1)
    torch._foreach_sqrt_(b[:1])
    torch._foreach_addcdiv_(a, b, make(), value=0.5)
    torch._foreach_copy_(b[:1], make()[:1])
    torch._foreach_zero_(make())
    return seen, a, b


@script
def small_questions(torch):
    x = torch.tensor([[1.0, 0.0]])
    torch._assert(x.numel() == 2, "two")
    return torch.is_nonzero(x[0, 0]), x[0, 1].is_nonzero(), torch.is_same_size(x, x.t()), torch.onnx.is_in_onnx_export()


for _wrong in (lambda torch: torch._assert(False, "no"), lambda torch: torch.is_nonzero(torch.ones(2))):

    @script
    def small_mistakes(torch, wrong=_wrong):
        return wrong(torch)


@script
def lists_of_two_lengths(torch):
    return torch._foreach_add([torch.ones(2)] * 2, [torch.ones(2)])


@script
def numbers_made_tuples(torch):
    utils = torch.nn.modules.utils
    state = torch.nn.DataParallel(torch.nn.Linear(2, 2)).state_dict()
    utils.consume_prefix_in_state_dict_if_present(state, "module.")
    return utils._pair(3), utils._triple([1, 2, 3]), utils._ntuple(4)(0), list(state), sorted(state._metadata)


@pytest.mark.parametrize(
    ("path", "names"),
    {
        "nn.modules.batchnorm": ["_BatchNorm", "BatchNorm2d"],
        "nn.modules.loss": ["_Loss", "_WeightedLoss"],
        "nn.modules.conv": ["_ConvNd", "Conv2d"],
        "nn.modules.module": ["Module", "_IncompatibleKeys"],
        "nn.modules.transformer": ["TransformerEncoderLayer"],
        "nn.modules": ["MultiheadAttention", "Module"],
        "nn.parallel": ["DistributedDataParallel", "DataParallel"],
        "utils.data.dataloader": ["DataLoader"],
        "utils.dlpack": ["from_dlpack", "to_dlpack"],
        "utils.hooks": ["RemovableHandle"],
        "backends.cudnn": ["benchmark"],
        "cuda.amp": ["autocast", "GradScaler"],
    }.items(),
)
def test_import_paths(path, names):
    ours, theirs = importlib.import_module(f"jtorch.{path}"), importlib.import_module(f"torch.{path}")
    for name in names:
        assert getattr(ours, name) is not None and hasattr(theirs, name)


def test_scripting_and_tracing_give_back_what_they_are_given():
    model = jtorch.nn.Linear(2, 2)
    assert jtorch.jit.script(model) is model is jtorch.jit.trace(model, jtorch.ones(1, 2))
    assert jtorch.jit.script_if_tracing(len) is len is jtorch.jit.script(len)
    with pytest.raises(NotImplementedError, match="state_dict"):
        jtorch.jit.load("model.pt")
    with pytest.raises(RuntimeError, match="eval"):
        jtorch.jit.freeze(model)
    assert jtorch.jit.freeze(model.eval()) is model


def test_code_knows_when_it_is_compiled():
    seen = []

    @jtorch.compiler.disable
    def note():
        seen.append((jtorch.compiler.is_compiling(), jtorch.jit.is_tracing()))

    def f(x):
        note()
        return x + 1

    f(jtorch.ones(2))
    jtorch.compile(f)(jtorch.ones(2))
    assert seen[0] == (False, False) and set(seen[1:]) == {(True, True)}


def test_process_groups_are_not_available():
    assert not jtorch.distributed.is_available()
    with pytest.raises(NotImplementedError, match=r"jax\.distributed"):
        jtorch.distributed.init_process_group("nccl")
    with pytest.raises(NotImplementedError, match="DataParallel"):
        jtorch.nn.parallel.DistributedDataParallel(jtorch.nn.Linear(1, 1))


def test_sparse_tensors_and_onnx_are_not_available():
    eye = jtorch.eye(2)
    assert jtorch.spmm(eye, eye).tolist() == eye.tolist()
    for call in (jtorch.sparse_coo_tensor, jtorch.sparse_csr_tensor, lambda: jtorch.onnx.export(eye)):
        with pytest.raises(NotImplementedError, match="not"):
            call()


def test_weights_from_the_net(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    assert jtorch.hub.get_dir() == pytorch.hub.get_dir()
    monkeypatch.setattr(jtorch.hub, "_folder", [str(tmp_path / "hub")])
    file = io.BytesIO()
    pytorch.save({"w": pytorch.ones(2)}, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    good, bad = tmp_path / f"good-{digest[:8]}.pt", tmp_path / "bad-00000000.pt"
    good.write_bytes(file.getvalue())
    bad.write_bytes(file.getvalue())
    for _ in range(2):
        state = jtorch.hub.load_state_dict_from_url(good.as_uri(), map_location="cpu", check_hash=True)
        assert state["w"].tolist() == [1, 1]
    assert capsys.readouterr().err.count("Downloading") == 1
    with pytest.raises(RuntimeError, match="hash"):
        jtorch.utils.model_zoo.load_url(bad.as_uri(), check_hash=True)
    assert [p.name for p in (tmp_path / "hub" / "checkpoints").iterdir()] == [good.name]
    with pytest.raises(NotImplementedError, match="imports torch"):
        jtorch.hub.load("pytorch/vision", "resnet18")
