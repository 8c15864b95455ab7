"""Model files written for PyTorch run with only the import changed, and with copied weights do what they do there.

The files in `models/` import torch and nothing of jtorch. Each is loaded twice: as it stands, and with jtorch under the
name of torch.
"""

import ast
import dataclasses
import functools
import pathlib
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import parity
import pytest
import torch

import jtorch

MODELS = pathlib.Path(__file__).parent / "models"


class _Renamed(ast.NodeTransformer):
    """`import torch`, `import torch.nn as nn` and `from torch.nn import functional`, of jtorch instead."""

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            if alias.name.partition(".")[0] == "torch":
                alias.name = f"j{alias.name}" if alias.asname else "jtorch"
                alias.asname = alias.asname or "torch"
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if (node.module or "").partition(".")[0] == "torch":
            node.module = f"j{node.module}"
        return node


@functools.cache
def load(name: str, library: Any) -> types.ModuleType:
    """A model file as a module, written in terms of `library`."""
    path = MODELS / f"{name}.py"
    tree = ast.parse(path.read_text())
    if library is jtorch:
        tree = _Renamed().visit(tree)
    module = types.ModuleType(f"{name}_of_{library.__name__}")
    exec(compile(tree, str(path), "exec"), vars(module))
    return module


def test_model_files_know_only_torch():
    files = sorted(MODELS.glob("*.py"))
    assert len(files) == 10
    assert not [path.name for path in files if "jtorch" in path.read_text() or "jax" in path.read_text()]


# the models, small, with their data


@dataclasses.dataclass
class Case:
    """A model of a file: how it is made, fed and trained.

    Attributes:
        build: the model from the file's module.
        inputs: NumPy arrays, and Python values that are passed as they are, from a stream of random numbers.
        loss: a scalar from (module, model, *inputs).
        optimizer: the optimizer from (library, model).
    """

    file: str
    build: Callable
    inputs: Callable
    loss: Callable
    optimizer: Callable


def _images(size: int, labels: int = 5, count: int = 2) -> Callable:
    return lambda stream: (
        stream.standard_normal((count, 3, size, size), np.float32),
        stream.integers(0, labels, count),
    )


def _masks(stream):
    return stream.standard_normal((2, 3, 10, 9), np.float32), stream.integers(0, 3, (2, 10, 9))


def _words(stream):
    tokens = stream.integers(0, 32, (2, 9))
    targets = tokens[:, 1:].copy()
    targets[0, -2:] = -1
    return tokens[:, :-1], targets


def _sentences(stream):
    source, target = stream.integers(3, 11, (6, 3)), stream.integers(3, 11, (4, 3))
    source[4:, 0] = source[2:, 2] = target[3:, 1] = 0
    return source, [4, 6, 2], target


def _samples(stream):
    real = stream.uniform(-1, 1, (3, 1, 8, 8)).astype(np.float32)
    return real, stream.standard_normal((3, 8, 1, 1), np.float32), stream.random(3, np.float32)


def _pixels(stream):
    return stream.random((4, 1, 6, 6), np.float32), stream.standard_normal((4, 4), np.float32)


def _classified(module, model, x, y):
    return module.torch.nn.functional.cross_entropy(model(x), y)


def _segmented(module, model, x, y):
    return module.segmentation_loss(model(x), y, 3)


def _predicted(module, model, x, y):
    return model(x, y)[1]


def _criticised(module, model, *inputs):
    return model.critic_loss(*inputs)


def _generated(module, model, real, noise, alpha):
    return model.generator_loss(noise)


def _autoencoded(module, model, x, eps):
    reconstruction, mean, logvar = model(x, eps)
    return module.loss_function(reconstruction, x, mean, logvar)


def _translated(module, model, *inputs):
    random.seed(0)  # teacher forcing is drawn in Python, which a compiled step runs twice
    return module.sequence_loss(model, *inputs)


def _sgd(lib, model):
    return lib.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)


def _nesterov(lib, model):
    return lib.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)


def _adam(lib, model):
    return lib.optim.Adam(model.parameters(), lr=1e-3)


def _adamw(lib, model):
    """A bias of keys has no gradient but rounding, of which Adam with its usual eps would make whole steps."""
    return lib.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-4, weight_decay=0.05)


def _gan_adam(lib, model):
    return lib.optim.Adam(model.parameters(), lr=1e-3, betas=(0.0, 0.9))


def _grouped(lib, model):
    return model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")


CASES = {
    "resnet-basic": Case("resnet", lambda m: m.resnet_basic(num_classes=5, width=4), _images(24), _classified, _sgd),
    "resnet-bottleneck": Case(
        "resnet",
        lambda m: m.resnext_bottleneck(
            num_classes=5, width=4, zero_init_residual=True, norm_layer=lambda channels: m.nn.GroupNorm(2, channels)
        ),
        _images(16), _classified, _sgd,
    ),
    "densenet": Case(
        "densenet", lambda m: m.DenseNet(4, (2, 2), 8, 2, num_classes=5), _images(8, count=3), _classified, _sgd
    ),
    "unet-transposed": Case("unet", lambda m: m.UNet(3, 3, width=4), _masks, _segmented, _sgd),
    "unet-bilinear": Case("unet", lambda m: m.UNet(3, 3, width=4, bilinear=True), _masks, _segmented, _sgd),
    "mobilenet": Case(
        "mobilenet",
        lambda m: m.MobileNet([[1, 8, 1, 1, 0], [2, 12, 1, 2, 1], [2, 12, 1, 1, 1]], num_classes=5, dropout=0.0),
        _images(16), _classified, _nesterov,
    ),
    "gpt": Case("gpt", lambda m: m.GPT(m.GPTConfig()), _words, _predicted, _grouped),
    "gpt-flash": Case(
        "gpt", lambda m: m.GPT(m.GPTConfig(flash=True, bias=False, n_layer=1)), _words, _predicted, _grouped
    ),
    "vit": Case("vit", lambda m: m.VisionTransformer(8, 4, 5, 8, 2, 2, qk_norm=True), _images(8), _classified, _adamw),
    "vit-resized": Case("vit", lambda m: m.VisionTransformer(12, 4, 5, 8, 1, 2), _images(8), _classified, _adamw),
    "swin": Case("swin", lambda m: m.Swin(16, 2, 5, 8), _images(16), _classified, _adamw),
    "wgan-critic": Case("wgan_gp", lambda m: m.WGAN(), _samples, _criticised, _gan_adam),
    "wgan-generator": Case("wgan_gp", lambda m: m.WGAN(), _samples, _generated, _gan_adam),
    "vae": Case("vae", lambda m: m.VAE(), _pixels, _autoencoded, _adam),
    "seq2seq": Case("seq2seq", lambda m: m.Seq2Seq(), _sentences, _translated, _adam),
}  # fmt: skip


def made(case: Case, library: Any) -> tuple[types.ModuleType, Any, list]:
    """The file's module, a model with torch's weights, and its inputs, in terms of a library."""
    torch.manual_seed(0)
    theirs = case.build(load(case.file, torch))
    with torch.no_grad():
        for p in theirs.parameters():  # no zeros: what is multiplied by them would not be tested
            p.add_(torch.randn(p.shape) * 0.02)
    module = load(case.file, library)
    inputs = [torch.tensor(x) if isinstance(x, np.ndarray) else x for x in case.inputs(np.random.default_rng(0))]
    if library is torch:
        return module, theirs, inputs
    ours = case.build(module)
    weights = {name: parity.to_jtorch(value) for name, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(weights)
    assert repr(ours.load_state_dict(weights)) == "<All keys matched successfully>"
    return module, ours, [parity.to_jtorch(x) for x in inputs]


def trained(case: Case, library: Any, wrap: Callable = lambda f: f) -> dict[str, Any]:
    """What comes of a model: the loss in eval mode, then losses and gradients of two steps, and the state after them."""
    module, model, inputs = made(case, library)
    optimizer = case.optimizer(library, model)

    def evaluate(*inputs):
        return case.loss(module, model, *inputs).detach()

    def step(*inputs):
        optimizer.zero_grad()
        loss = case.loss(module, model, *inputs)
        loss.backward()
        optimizer.step()
        return loss.detach()

    evaluate, step = wrap(evaluate), wrap(step)
    model.eval()
    seen = {"eval": evaluate(*inputs)}
    model.train()
    for count in range(2):
        seen[f"loss {count}"] = step(*inputs)
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        seen |= {f"gradient {count} of {n}": g.clone() for n, g in gradients.items()}
    return seen | model.state_dict()


@functools.cache
def expected(name: str) -> dict[str, Any]:
    """What torch makes of a case."""
    return trained(CASES[name], torch)


def check(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """They agree to 1e-4, relative to the largest number of each tensor where that is above 1."""
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        want, got = value.detach().numpy(), np.asarray(ours[name].detach())
        assert got.dtype == want.dtype, name
        scale = max(1.0, np.abs(want).max())
        np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_eager_model_is_torchs(name):
    check(trained(CASES[name], jtorch), expected(name))


@pytest.mark.parametrize("name", CASES)
def test_compiled_model_is_torchs(name):
    check(trained(CASES[name], jtorch, jtorch.compile), expected(name))


# what the files do besides


def _both(name: str, run: Callable) -> list:
    """What `run(module, model, *inputs)` gives for both libraries, tensors as nested lists."""
    return [[np.asarray(x).tolist() for x in run(*_spread(made(CASES[name], lib)))] for lib in (jtorch, torch)]


def _spread(parts: tuple) -> tuple:
    module, model, inputs = parts
    return module, model.eval(), *inputs


def test_gpt_generates_what_torchs_does():
    def run(module, model, words, targets):
        module.torch.manual_seed(3)
        greedy = model.generate(words, 3, top_k=4)
        drawn = model.generate(words, 3, temperature=0.9, do_sample=True, top_k=4)
        model.crop_block_size(8)
        return greedy, drawn, model.generate(words, 2), model.get_num_params(), model.transformer.h[0].attn.bias

    ours, theirs = _both("gpt", run)
    assert ours == theirs


def test_seq2seq_translates_as_torchs_does():
    ours, theirs = _both("seq2seq", lambda module, model, source, lengths, target: [model.greedy(source, lengths)])
    assert ours == theirs


def test_average_of_mobilenet_is_torchs():
    def run(module, model, x, y):
        average = module.ModelEma(model)
        with module.torch.no_grad():
            for p in model.parameters():
                p.data.mul_(0.5).add_(1)
        average.update(model)
        return average.module.state_dict().values()

    ours, theirs = _both("mobilenet", run)
    assert len(ours) == len(theirs)
    for got, want in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
