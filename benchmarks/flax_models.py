"""The same models in Flax NNX, with its own layers and layouts, and their training step under `nnx.jit`.

Attributes have the names that they have in `models`, so that `load` finds the place of each of torch's weights. Images
are (N, H, W, C), as Flax has them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.models import (
    DEPTH,
    HEADS,
    LSTM_LAYERS,
    MOBILE_STAGES,
    NEXT_GROUPS,
    NEXT_STAGES,
    PATCH,
    RESNET_STAGES,
    TOKENS,
    WIDTH,
)


def _conv(before: int, channels: int, size: int, stride: int = 1, groups: int = 1, *, rngs: nnx.Rngs) -> nnx.Conv:
    """A convolution without bias that keeps the size of the image but for the stride."""
    return nnx.Conv(
        before, channels, (size, size), stride, padding=size // 2, feature_group_count=groups, use_bias=False, rngs=rngs
    )


def _norm(channels: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(channels, momentum=0.9, epsilon=1e-5, rngs=rngs)


def _stem(channels: int, activation: Callable, *, rngs: nnx.Rngs) -> nnx.Sequential:
    return nnx.Sequential(_conv(3, channels, 3, rngs=rngs), _norm(channels, rngs=rngs), activation)


def _shortcut(before: int, channels: int, stride: int, *, rngs: nnx.Rngs) -> nnx.Module | Callable:
    if stride == 1 and before == channels:
        return nnx.identity
    return nnx.Sequential(_conv(before, channels, 1, stride, rngs=rngs), _norm(channels, rngs=rngs))


def _stages(block: Callable, stages: tuple, before: int, *, rngs: nnx.Rngs) -> nnx.Sequential:
    """Two blocks for each stage, the first with the stage's stride."""
    blocks = []
    for channels, stride in stages:
        blocks += [block(before, channels, stride, rngs=rngs), block(channels, channels, 1, rngs=rngs)]
        before = channels
    return nnx.Sequential(*blocks)


class MLP(nnx.Module):
    """The twin of `models.mlp`."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.fc1 = nnx.Linear(784, 512, rngs=rngs)
        self.fc2 = nnx.Linear(512, 256, rngs=rngs)
        self.fc3 = nnx.Linear(256, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.fc1(x))
        x = nnx.relu(self.fc2(x))
        return self.fc3(x)


class Perceptron(nnx.Module):
    """The twin of `models.perceptron`."""

    def __init__(self, width: int, depth: int, *, rngs: nnx.Rngs):
        layers: list[Any] = []
        for _ in range(depth):
            layers += [nnx.Linear(width, width, rngs=rngs), nnx.relu]
        self.body = nnx.Sequential(*layers)
        self.fc = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc(self.body(x))


class LeNet(nnx.Module):
    """The twin of `models.lenet`."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(1, 6, (5, 5), padding=2, rngs=rngs)
        self.conv2 = nnx.Conv(6, 16, (5, 5), padding=0, rngs=rngs)
        self.fc1 = nnx.Linear(5 * 5 * 16, 120, rngs=rngs)
        self.fc2 = nnx.Linear(120, 84, rngs=rngs)
        self.fc3 = nnx.Linear(84, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nnx.relu(self.fc1(x))
        x = nnx.relu(self.fc2(x))
        return self.fc3(x)


class Block(nnx.Module):
    """The residual block of two 3x3 convolutions."""

    def __init__(self, before: int, channels: int, stride: int, *, rngs: nnx.Rngs):
        self.conv1 = _conv(before, channels, 3, stride, rngs=rngs)
        self.bn1 = _norm(channels, rngs=rngs)
        self.conv2 = _conv(channels, channels, 3, rngs=rngs)
        self.bn2 = _norm(channels, rngs=rngs)
        self.shortcut = _shortcut(before, channels, stride, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return nnx.relu(y + self.shortcut(x))


class Inverted(nnx.Module):
    """The inverted residual block."""

    def __init__(self, before: int, channels: int, stride: int, *, rngs: nnx.Rngs, widen: int = 4):
        inner = before * widen
        self.body = nnx.Sequential(
            _conv(before, inner, 1, rngs=rngs), _norm(inner, rngs=rngs), nnx.relu6,
            _conv(inner, inner, 3, stride, groups=inner, rngs=rngs), _norm(inner, rngs=rngs), nnx.relu6,
            _conv(inner, channels, 1, rngs=rngs), _norm(channels, rngs=rngs),
        )  # fmt: skip
        self.same = stride == 1 and before == channels

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.body(x)
        return x + y if self.same else y


class Aggregated(nnx.Module):
    """The bottleneck block with a grouped 3x3 convolution."""

    def __init__(self, before: int, channels: int, stride: int, *, rngs: nnx.Rngs):
        self.body = nnx.Sequential(
            _conv(before, channels, 1, rngs=rngs), _norm(channels, rngs=rngs), nnx.relu,
            _conv(channels, channels, 3, stride, NEXT_GROUPS, rngs=rngs), _norm(channels, rngs=rngs), nnx.relu,
            _conv(channels, channels, 1, rngs=rngs), _norm(channels, rngs=rngs),
        )  # fmt: skip
        self.shortcut = _shortcut(before, channels, stride, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.body(x) + self.shortcut(x))


class Residual(nnx.Module):
    """A stem, blocks in stages, the mean over the image and a linear layer."""

    def __init__(self, block: Callable, stages: tuple, stem: int, activation: Callable, *, rngs: nnx.Rngs):
        self.stem = _stem(stem, activation, rngs=rngs)
        self.blocks = _stages(block, stages, stem, rngs=rngs)
        self.fc = nnx.Linear(stages[-1][0], 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc(self.blocks(self.stem(x)).mean((1, 2)))


class LanguageModel(nnx.Module):
    """The twin of `models.lstm`."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(TOKENS, 128, rngs=rngs)
        cells = [nnx.OptimizedLSTMCell(128 if i == 0 else 256, 256, rngs=rngs) for i in range(LSTM_LAYERS)]
        self.lstm = nnx.Sequential(*[nnx.RNN(cell, rngs=rngs) for cell in cells])
        self.fc = nnx.Linear(256, TOKENS, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc(self.lstm(self.embedding(x))).reshape(-1, TOKENS)


class TransformerBlock(nnx.Module):
    """The transformer block that normalizes first."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.ln1 = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.ln2 = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.fc1 = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.fc2 = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        x = x + self.attention(self.ln1(x), mask=mask)
        return x + self.fc2(nnx.gelu(self.fc1(self.ln2(x)), approximate=False))


class GPT(nnx.Module):
    """The twin of `models.gpt`."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.tokens, self.places = nnx.Embed(TOKENS, WIDTH, rngs=rngs), nnx.Embed(128, WIDTH, rngs=rngs)
        self.blocks = nnx.List([TransformerBlock(rngs=rngs) for _ in range(DEPTH)])
        self.ln = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.fc = nnx.Linear(WIDTH, TOKENS, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nnx.make_causal_mask(x)
        x = self.tokens(x) + self.places(jnp.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x, mask)
        return self.fc(self.ln(x)).reshape(-1, TOKENS)


class ViT(nnx.Module):
    """The twin of `models.vit`."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.patches = nnx.Conv(3, WIDTH, (PATCH, PATCH), PATCH, padding=0, rngs=rngs)
        self.places = nnx.Embed((32 // PATCH) ** 2, WIDTH, rngs=rngs)
        self.blocks = nnx.List([TransformerBlock(rngs=rngs) for _ in range(DEPTH)])
        self.ln = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.fc = nnx.Linear(WIDTH, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.patches(x).reshape(x.shape[0], -1, WIDTH)
        x = x + self.places(jnp.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.fc(self.ln(x).mean(1))


MODELS: dict[str, Callable[..., nnx.Module]] = {
    "mlp": MLP,
    "perceptron": Perceptron,
    "lenet": LeNet,
    "resnet18": partial(Residual, Block, RESNET_STAGES, 64, nnx.relu),
    "mobilenet": partial(Residual, Inverted, MOBILE_STAGES, 16, nnx.relu6),
    "resnext": partial(Residual, Aggregated, NEXT_STAGES, 64, nnx.relu),
    "lstm": LanguageModel,
    "gpt": GPT,
    "vit": ViT,
}

# torch's weights


def load(model: nnx.Module, weights: dict[str, np.ndarray]) -> None:
    """Put every weight of a `state_dict` in its place, in the layout that Flax has for it."""
    for name, array in weights.items():
        *path, kind = name.split(".")
        if path[-1] in ("qkv", "out"):
            _load_attention(_at(model, [*path[:-1], "attention"]), path[-1], kind, array)
        elif path == ["lstm"]:
            _load_lstm(_at(model, path), kind, array)
        elif name == "fc1.weight" and isinstance(model, LeNet):  # after a flattened image
            array = array.reshape(-1, 16, 5, 5).transpose(0, 2, 3, 1).reshape(array.shape)
            model.fc1.kernel[...] = jnp.asarray(array.T)
        elif kind != "num_batches_tracked":
            _load_layer(_at(model, path), kind, array)


def _at(model: Any, path: list[str]) -> Any:
    for part in path:
        model = getattr(model, "layers", model)
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    return model


def _load_layer(layer: Any, kind: str, array: np.ndarray) -> None:
    names = {"weight": "scale", "running_mean": "mean", "running_var": "var"}
    if isinstance(layer, nnx.Embed):
        names = {"weight": "embedding"}
    elif isinstance(layer, nnx.Linear | nnx.Conv) and kind == "weight":
        names = {"weight": "kernel"}
        array = array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)
    getattr(layer, names.get(kind, kind))[...] = jnp.asarray(array)


def _load_attention(attention: nnx.MultiHeadAttention, part: str, kind: str, array: np.ndarray) -> None:
    """The projections have one axis for the heads in Flax."""
    name = "kernel" if kind == "weight" else "bias"
    if part == "out":
        weight = array.T.reshape(HEADS, -1, WIDTH) if kind == "weight" else array
        getattr(attention.out, name)[...] = jnp.asarray(weight)
        return
    for layer, share in zip((attention.query, attention.key, attention.value), np.split(array, 3), strict=True):
        getattr(layer, name)[...] = jnp.asarray(share.T.reshape(*share.shape[1:], HEADS, -1))


def _load_lstm(layers: nnx.Sequential, kind: str, array: np.ndarray) -> None:
    """The two biases of torch's are one here, their sum."""
    kind, _, place = kind.rpartition("_l")
    cell: Any = layers.layers[int(place)].cell
    if kind.startswith("weight"):
        layer = cell.dense_i if kind == "weight_ih" else cell.dense_h
        layer.kernel[...] = jnp.asarray(array.T)
    else:
        cell.dense_h.bias[...] += jnp.asarray(array)


# the training step


def optimizer_of(model: nnx.Module, name: str, options: dict[str, float]) -> nnx.Optimizer:
    """Optax's twin of the torch optimizer of that name."""
    chain = {"SGD": optax.sgd, "Adam": optax.adam}[name]
    return nnx.Optimizer(model, chain(options["lr"], **{k: v for k, v in options.items() if k != "lr"}), wrt=nnx.Param)


def train_step(model: nnx.Module, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
    """One step, to be compiled with model and optimizer donated."""

    def loss_of(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, grads = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, grads)
    return loss


def make_step(work: Any, cached: bool) -> Callable[[], jax.Array]:
    """The step of a `steps.Work` under `nnx.jit`, or, `cached`, under `nnx.cached_partial` besides."""
    model = MODELS[work.model](*work.sizes, rngs=nnx.Rngs(0))
    load(model, work.weights())
    optimizer = optimizer_of(model, work.optimizer, work.options)
    images, labels = work.batch()
    x, y = jnp.asarray(images.transpose(0, 2, 3, 1) if images.ndim == 4 else images), jnp.asarray(labels)
    step = nnx.jit(train_step, donate_argnums=(0, 1))
    if cached:
        step = nnx.cached_partial(step, model, optimizer)
        return lambda: step(x, y)
    return lambda: step(model, optimizer, x, y)
