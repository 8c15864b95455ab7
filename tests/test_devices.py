"""Devices: what scripts ask of them, beside torch's answers on a machine without a GPU, and several of them in a process."""

import os
import pathlib
import platform
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import parity
import pytest
import torch as pytorch

import jtorch

ROOT = pathlib.Path(jtorch.__file__).parent.parent

SCRIPTS: list = []
script = parity.scripts(SCRIPTS)
without_gpu = pytest.mark.skipif(jtorch.cuda.is_available() or pytorch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
@without_gpu
def test_script(script):
    parity.agree(script)


@script
def spelled(torch):
    made = [torch.device("cpu", 0), torch.device("cuda:1"), torch.device(type="cuda", index=1), torch.device("meta"),
            torch.device("xpu", 1), torch.device(torch.device("mps"))]  # fmt: skip
    equal = [torch.device("cuda", 1) == torch.device("cuda:1"), torch.device("cpu") == "cpu"]
    return [repr(x) for x in made], [str(x) for x in made], [(x.type, x.index) for x in made], equal


for _text in ("cuda:01", "cuda:-1", "cuda:", ":0", "cuda:0:1", "", "cuda 0", "gpu"):

    @script
    def misspelled(torch, text=_text):
        return torch.device(text)


@script
def number_without_accelerator(torch):
    return torch.ones(2).to(0)


@script
def index_given_twice(torch):
    return torch.device("cuda:0", -1)


@script
def to_in_all_its_forms(torch):
    x = torch.ones(2, 3, dtype=torch.float32)
    same = [x.to("cpu"), x.to(torch.device("cpu")), x.to(torch.float32), x.to("cpu", torch.float32), x.to(x),
            x.to(device="cpu"), x.to(None), x.to(device=None, dtype=None), x.cpu(), x.to("cpu", non_blocking=True),
            x.to(torch.float32, False), x.to(memory_format=torch.contiguous_format)]  # fmt: skip
    other = [x.to(torch.float16), x.to("cpu", torch.int32), x.to(x.half()), x.to(dtype=torch.bool), x.to(int),
             x.to("cpu", torch.float16, True, True), x.to(torch.float32, False, True), x.to(x, copy=True)]  # fmt: skip
    return [y is x for y in same], [(y is x, str(y.dtype)) for y in other]


for _call in (
    lambda torch, x: x.to(torch.float16, "cpu"),
    lambda torch, x: x.to("cpu", "cpu"),
    lambda torch, x: x.to(torch.channels_last),
    lambda torch, x: x.to(memory_format=torch.channels_last),
    lambda torch, x: x.to(torch.nn),
    lambda torch, x: x.to("mps"),
    lambda torch, x: x.cuda("cpu"),
):

    @script
    def refused(torch, call=_call):
        return call(torch, torch.ones(2, 3))


@script
def asked_of_gpus(torch):
    cuda = torch.cuda
    return [
        cuda.is_available(), cuda.device_count(), cuda.is_initialized(), cuda.is_bf16_supported(), cuda.memory_allocated(),
        cuda.max_memory_allocated(), cuda.memory_reserved(), len(cuda.memory_stats()), cuda.empty_cache(),
        cuda.manual_seed_all(1), cuda.get_rng_state_all(), cuda.get_arch_list(),
    ]  # fmt: skip


@script
def asked_of_others(torch):
    with torch.cuda.stream(None), torch.cuda.device(-1), torch.cuda.device_of(torch.ones(2)):
        pass
    return [
        torch.accelerator.is_available(), torch.accelerator.device_count(), torch.accelerator.current_accelerator(),
        torch.xpu.is_available(), torch.xpu.device_count(), torch.xpu.empty_cache(), torch.backends.mps.is_available(),
        torch.cpu.is_available(), torch.cpu.current_device(), torch.cpu.synchronize(), torch.version.cuda,
        torch.backends.cuda.is_built(), torch.ones(2).get_device(), str(torch.get_default_device()),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def switches_of_torch_move():
    """torch's own test databases freeze them."""
    with pytorch.backends.__allow_nonbracketed_mutation():
        yield


@script
def switches(torch):
    cudnn, seen = torch.backends.cudnn, []
    cudnn.benchmark, cudnn.deterministic = True, True
    with cudnn.flags(enabled=False, benchmark=False):
        seen += [cudnn.enabled, cudnn.benchmark, cudnn.deterministic]
    seen += [cudnn.enabled, cudnn.benchmark, cudnn.deterministic]
    cudnn.benchmark = cudnn.deterministic = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    seen += [torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()]
    seen += [torch.get_deterministic_debug_mode()]
    torch.set_deterministic_debug_mode("default")
    seen += [torch.are_deterministic_algorithms_enabled()]
    return seen


@script
def precision(torch):
    seen = []
    try:
        for value in ("high", "highest", "medium"):
            torch.set_float32_matmul_precision(value)
            seen += [torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32]
        return seen
    finally:
        torch.set_float32_matmul_precision("highest")


for _wanted in (
    lambda torch: torch.accelerator.synchronize(),
    lambda torch: torch.accelerator.current_device_index(),
    lambda torch: torch.accelerator.memory_allocated(),
    lambda torch: torch.cuda.Stream(),
    lambda torch: torch.cuda.Event(),
    lambda torch: torch.set_float32_matmul_precision("low"),
    lambda torch: torch.set_num_threads(0),
    lambda torch: torch.set_deterministic_debug_mode("loud"),
):

    @script
    def not_there(torch, wanted=_wanted):
        return wanted(torch)


@pytest.mark.parametrize(
    "ask",
    ["current_device", "synchronize", "get_device_name", "get_device_capability", "get_device_properties", "init",
     "current_stream", "mem_get_info", "Stream", "Event"],
)  # fmt: skip
@without_gpu
def test_what_only_a_gpu_has_raises(ask):
    with pytest.raises(RuntimeError, match="NVIDIA driver"):
        getattr(jtorch.cuda, ask)()


def test_precision_is_that_of_jax_in_programs_made_before_too():
    x = jnp.ones((2, 2), jnp.float32)
    compiled = jtorch.compile(lambda x: x @ x)
    compiled(jtorch.ones(2, 2))
    assert "HIGHEST" in str(jax.make_jaxpr(lambda x: jtorch.matmul(x, x))(x))
    try:
        jtorch.backends.cuda.matmul.allow_tf32 = True
        assert "HIGHEST" not in str(jax.make_jaxpr(lambda x: jtorch.matmul(x, x))(x))
        compiled(jtorch.ones(2, 2))
        assert compiled.traces == 2
    finally:
        jtorch.set_float32_matmul_precision("highest")
    compiled(jtorch.ones(2, 2))
    assert compiled.traces == 2


def test_streams_and_events_do_no_harm():
    start, end = jtorch.Event("cpu", enable_timing=True), jtorch.Event("cpu", enable_timing=True)
    with pytest.raises(ValueError, match="recorded"):
        start.elapsed_time(end)
    start.record()
    with jtorch.Stream("cpu") as stream:
        y = jtorch.ones(3) * 2
        stream.wait_stream(jtorch.cpu.current_stream())
    end.record(stream)
    assert stream.query() and end.query() and start.elapsed_time(end) > 0
    assert stream == jtorch.cpu.current_stream() and y.tolist() == [2, 2, 2]


TWO = """
import jtorch as torch
import pytest

x = torch.ones(3, requires_grad=True)
y = x.to("cpu:1")
assert (x.device, y.device) == (torch.device("cpu"), torch.device("cpu:1"))
assert y.to("cpu:1") is y and y.to("cpu").device == x.device and torch.zeros_like(y).device == y.device

# gradients go back the way that values came, to any order
z = (y**3).to("cpu:0") * x
(g,) = torch.autograd.grad(z.sum(), x, create_graph=True)
g.sum().backward()
assert g.tolist() == [4.0] * 3 and x.grad.tolist() == [12.0] * 3 and x.grad.device == x.device

# what is drawn, found or made like a tensor, and what is put into it, is where it is
for made in (torch.rand_like(y), torch.bernoulli(y.detach()), torch.normal(y.detach(), 1.0), y.nonzero(), y.unique(),
             torch.multinomial(y.detach(), 1), y[y > 0], y.detach().clone().normal_(), torch.nn.functional.dropout(y),
             y.detach().clone().copy_(x), torch.nn.init.normal_(torch.empty_like(y)), y.new_zeros(2),
             y.clone().fill_(2.0), torch.eye(2, out=torch.zeros(2, 2, device="cpu:1"))):
    assert made.device == y.device

# tensors that were put on different devices do not meet
here = x.detach().to("cpu:1").to("cpu:0")
for meet in (lambda: here + y, lambda: torch.cat([here, y]), lambda: here.add_(y), lambda: torch.where(here > 0, here, y)):
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        meet()
with pytest.raises(RuntimeError, match="2 cpu devices"):
    x.to("cpu:2")

# modules and optimizers move; a part of a model may be elsewhere
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2).to("cpu:1"))
optimizer = torch.optim.Adam(model.parameters(), foreach=False)
model[1](model[0](torch.ones(5, 3)).to("cpu:1")).sum().backward()
assert [p.grad.device.index for p in model.parameters()] == [None, None, 1, 1]
model.to("cpu:1")
assert {str(t.device) for p in model.parameters() for t in (p, p.grad)} == {"cpu:1"}
optimizer.step()

# where new tensors go
with torch.device("cpu:1"):
    assert torch.zeros(2).device.index == 1 and torch.nn.Linear(2, 2).weight.device.index == 1
assert torch.zeros(2).device.index is None
torch.set_default_device("cpu:1")
assert torch.get_default_device() == torch.randn(2).device == torch.device("cpu:1")
torch.set_default_device(None)
assert torch.zeros(2).device.index is None and torch.cpu.device_count() == 2
"""


def test_two_devices():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(TWO)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


KEPT = """
import resource, sys, jtorch
if sys.argv[1:]:
    assert jtorch.keep_memory()
step = jtorch.compile(lambda x: (x @ x).sort().values.sum())
x = jtorch.ones(2048, 2048)
faults = []
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).item()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc")
def test_kept_memory_is_not_mapped_anew():
    def faults(*arguments, **setting):
        run = [sys.executable, "-c", KEPT, *arguments]
        environment = os.environ | {"JTORCH_KEEP_MEMORY": "0"} | setting
        return int(subprocess.run(run, check=True, env=environment, capture_output=True, text=True).stdout)

    plain = faults()
    assert plain > 10  # pages, which may be large ones, of a program that needs many megabytes for a while
    assert faults("asked") < plain / 10
    assert faults(JTORCH_KEEP_MEMORY="1") < plain / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc")
def test_memory_cannot_be_kept_once_threads_have_heaps():
    (jtorch.ones(300, 300) @ jtorch.ones(300, 300)).sum().item()
    with pytest.raises(RuntimeError, match="first of all"):
        jtorch.keep_memory()
    late = "import jax.numpy as jnp; jnp.ones(3) + 1; import jtorch"
    environment = os.environ | {"JTORCH_KEEP_MEMORY": "1"}
    done = subprocess.run([sys.executable, "-c", late], check=True, env=environment, capture_output=True, text=True)
    assert "no effect" in done.stderr
