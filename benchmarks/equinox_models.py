"""The same models in Equinox, with its own layers, and their training step under `eqx.filter_jit`.

A model is written for one example and mapped over the batch, as Equinox has it. Attributes have the names that they
have in `models`, so that `loaded` finds the place of each of torch's weights. Only this file imports Equinox, which is
optional.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from equinox import nn

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

Keys = Callable[[], jax.Array]
"""Gives a new key at every call."""


def _conv(before: int, channels: int, size: int, stride: int, keys: Keys, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size of the image but for the stride."""
    return nn.Conv2d(before, channels, size, stride, size // 2, groups=groups, use_bias=False, key=keys())


def _norm(channels: int) -> nn.BatchNorm:
    return nn.BatchNorm(channels, "batch", momentum=0.9, mode="batch")


def _stem(channels: int, activation: Callable, keys: Keys) -> nn.Sequential:
    return nn.Sequential([_conv(3, channels, 3, 1, keys), _norm(channels), nn.Lambda(activation)])


def _shortcut(before: int, channels: int, stride: int, keys: Keys) -> nn.Sequential:
    if stride == 1 and before == channels:
        return nn.Sequential([])
    return nn.Sequential([_conv(before, channels, 1, stride, keys), _norm(channels)])


class MLP(eqx.Module):
    """The twin of `models.mlp`."""

    fc1: nn.Linear
    fc2: nn.Linear
    fc3: nn.Linear

    def __init__(self, keys: Keys):
        self.fc1 = nn.Linear(784, 512, key=keys())
        self.fc2 = nn.Linear(512, 256, key=keys())
        self.fc3 = nn.Linear(256, 10, key=keys())

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        x = jax.nn.relu(self.fc1(x))
        x = jax.nn.relu(self.fc2(x))
        return self.fc3(x), state


class LeNet(eqx.Module):
    """The twin of `models.lenet`."""

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    fc1: nn.Linear
    fc2: nn.Linear
    fc3: nn.Linear
    pool: nn.MaxPool2d

    def __init__(self, keys: Keys):
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2, key=keys())
        self.conv2 = nn.Conv2d(6, 16, 5, key=keys())
        self.fc1 = nn.Linear(16 * 5 * 5, 120, key=keys())
        self.fc2 = nn.Linear(120, 84, key=keys())
        self.fc3 = nn.Linear(84, 10, key=keys())
        self.pool = nn.MaxPool2d(2, 2)

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        x = self.pool(jax.nn.relu(self.conv1(x)))
        x = self.pool(jax.nn.relu(self.conv2(x))).reshape(-1)
        x = jax.nn.relu(self.fc1(x))
        x = jax.nn.relu(self.fc2(x))
        return self.fc3(x), state


class Block(nn.StatefulLayer):
    """The residual block of two 3x3 convolutions."""

    conv1: nn.Conv2d
    bn1: nn.BatchNorm
    conv2: nn.Conv2d
    bn2: nn.BatchNorm
    shortcut: nn.Sequential

    def __init__(self, before: int, channels: int, stride: int, keys: Keys):
        self.conv1, self.bn1 = _conv(before, channels, 3, stride, keys), _norm(channels)
        self.conv2, self.bn2 = _conv(channels, channels, 3, 1, keys), _norm(channels)
        self.shortcut = _shortcut(before, channels, stride, keys)

    def __call__(self, x: jax.Array, state: nn.State, *, key: Any = None) -> tuple[jax.Array, nn.State]:
        y, state = self.bn1(self.conv1(x), state)
        y, state = self.bn2(self.conv2(jax.nn.relu(y)), state)
        x, state = self.shortcut(x, state)
        return jax.nn.relu(y + x), state


class Inverted(nn.StatefulLayer):
    """The inverted residual block."""

    body: nn.Sequential
    same: bool = eqx.field(static=True)

    def __init__(self, before: int, channels: int, stride: int, keys: Keys, widen: int = 4):
        inner, relu6 = before * widen, nn.Lambda(jax.nn.relu6)
        self.body = nn.Sequential([
            _conv(before, inner, 1, 1, keys), _norm(inner), relu6,
            _conv(inner, inner, 3, stride, keys, inner), _norm(inner), relu6,
            _conv(inner, channels, 1, 1, keys), _norm(channels),
        ])  # fmt: skip
        self.same = stride == 1 and before == channels

    def __call__(self, x: jax.Array, state: nn.State, *, key: Any = None) -> tuple[jax.Array, nn.State]:
        y, state = self.body(x, state)
        return (x + y if self.same else y), state


class Aggregated(nn.StatefulLayer):
    """The bottleneck block with a grouped 3x3 convolution."""

    body: nn.Sequential
    shortcut: nn.Sequential

    def __init__(self, before: int, channels: int, stride: int, keys: Keys):
        relu = nn.Lambda(jax.nn.relu)
        self.body = nn.Sequential([
            _conv(before, channels, 1, 1, keys), _norm(channels), relu,
            _conv(channels, channels, 3, stride, keys, NEXT_GROUPS), _norm(channels), relu,
            _conv(channels, channels, 1, 1, keys), _norm(channels),
        ])  # fmt: skip
        self.shortcut = _shortcut(before, channels, stride, keys)

    def __call__(self, x: jax.Array, state: nn.State, *, key: Any = None) -> tuple[jax.Array, nn.State]:
        y, state = self.body(x, state)
        x, state = self.shortcut(x, state)
        return jax.nn.relu(y + x), state


class Residual(eqx.Module):
    """A stem, two blocks for each stage, the mean over the image and a linear layer."""

    stem: nn.Sequential
    blocks: nn.Sequential
    fc: nn.Linear

    def __init__(self, block: Callable, stages: tuple, before: int, activation: Callable, keys: Keys):
        self.stem, blocks = _stem(before, activation, keys), []
        for channels, stride in stages:
            blocks += [block(before, channels, stride, keys), block(channels, channels, 1, keys)]
            before = channels
        self.blocks = nn.Sequential(blocks)
        self.fc = nn.Linear(before, 10, key=keys())

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        x, state = self.stem(x, state)
        x, state = self.blocks(x, state)
        return self.fc(x.mean((1, 2))), state


class LanguageModel(eqx.Module):
    """The twin of `models.lstm`."""

    embedding: nn.Embedding
    lstm: list[nn.LSTMCell]
    fc: nn.Linear

    def __init__(self, keys: Keys):
        self.embedding = nn.Embedding(TOKENS, 128, key=keys())
        self.lstm = [nn.LSTMCell(128 if i == 0 else 256, 256, key=keys()) for i in range(LSTM_LAYERS)]
        self.fc = nn.Linear(256, TOKENS, key=keys())

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        x = jax.vmap(self.embedding)(x)
        for cell in self.lstm:

            def step(carry, now, cell=cell):
                carry = cell(now, carry)
                return carry, carry[0]

            start = jnp.zeros(cell.hidden_size)
            x = jax.lax.scan(step, (start, start), x)[1]
        return jax.vmap(self.fc)(x), state


class TransformerBlock(eqx.Module):
    """The transformer block that normalizes first."""

    ln1: nn.LayerNorm
    ln2: nn.LayerNorm
    attention: nn.MultiheadAttention
    fc1: nn.Linear
    fc2: nn.Linear

    def __init__(self, keys: Keys):
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
        self.attention = nn.MultiheadAttention(HEADS, WIDTH, **biases, key=keys())
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH, key=keys()), nn.Linear(4 * WIDTH, WIDTH, key=keys())

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        y = jax.vmap(self.ln1)(x)
        x = x + self.attention(y, y, y, mask)
        y = jax.nn.gelu(jax.vmap(self.fc1)(jax.vmap(self.ln2)(x)), approximate=False)
        return x + jax.vmap(self.fc2)(y)


class GPT(eqx.Module):
    """The twin of `models.gpt`."""

    tokens: nn.Embedding
    places: nn.Embedding
    blocks: list[TransformerBlock]
    ln: nn.LayerNorm
    fc: nn.Linear

    def __init__(self, keys: Keys):
        self.tokens, self.places = nn.Embedding(TOKENS, WIDTH, key=keys()), nn.Embedding(128, WIDTH, key=keys())
        self.blocks = [TransformerBlock(keys) for _ in range(DEPTH)]
        self.ln = nn.LayerNorm(WIDTH)
        self.fc = nn.Linear(WIDTH, TOKENS, key=keys())

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        mask = jnp.tri(len(x), dtype=bool)
        x = jax.vmap(self.tokens)(x) + jax.vmap(self.places)(jnp.arange(len(x)))
        for block in self.blocks:
            x = block(x, mask)
        return jax.vmap(self.fc)(jax.vmap(self.ln)(x)), state


class ViT(eqx.Module):
    """The twin of `models.vit`."""

    patches: nn.Conv2d
    places: nn.Embedding
    blocks: list[TransformerBlock]
    ln: nn.LayerNorm
    fc: nn.Linear

    def __init__(self, keys: Keys):
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH, key=keys())
        self.places = nn.Embedding((32 // PATCH) ** 2, WIDTH, key=keys())
        self.blocks = [TransformerBlock(keys) for _ in range(DEPTH)]
        self.ln = nn.LayerNorm(WIDTH)
        self.fc = nn.Linear(WIDTH, 10, key=keys())

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        x = self.patches(x).reshape(WIDTH, -1).T
        x = x + jax.vmap(self.places)(jnp.arange(len(x)))
        for block in self.blocks:
            x = block(x)
        return self.fc(jax.vmap(self.ln)(x).mean(0)), state


MODELS: dict[str, Callable[[Keys], eqx.Module]] = {
    "mlp": MLP,
    "lenet": LeNet,
    "resnet18": partial(Residual, Block, RESNET_STAGES, 64, jax.nn.relu),
    "mobilenet": partial(Residual, Inverted, MOBILE_STAGES, 16, jax.nn.relu6),
    "resnext": partial(Residual, Aggregated, NEXT_STAGES, 64, jax.nn.relu),
    "lstm": LanguageModel,
    "gpt": GPT,
    "vit": ViT,
}

# torch's weights


def loaded(model: Any, weights: dict[str, np.ndarray]) -> Any:
    """The model with every parameter of a `state_dict` in its place; statistics start as Equinox has them."""
    for name, array in weights.items():
        *path, kind = name.split(".")
        if kind not in ("weight", "bias") and path != ["lstm"]:
            continue
        for place, part in _parts(path, kind, array):
            get = partial(_at, path=place)
            old = get(model)
            new = old + part if path == ["lstm"] and kind.startswith("bias_hh") else part
            model = eqx.tree_at(get, model, jnp.asarray(new.reshape(old.shape)))
    return model


def _parts(path: list[str], kind: str, array: np.ndarray) -> Sequence[tuple[list[str], np.ndarray]]:
    """Where the weight, or each part of it, goes."""
    if path == ["lstm"]:  # the two biases of torch's are one here, their sum
        kind, _, layer = kind.rpartition("_l")
        return [([*path, layer, "bias" if kind.startswith("bias") else kind], array)]
    *front, last = path
    if last == "qkv":
        names = [f"{name}_proj" for name in ("query", "key", "value")]
        parts = zip(names, np.split(array, 3), strict=True)
        return [([*front, "attention", name, kind], part) for name, part in parts]
    if last == "out":
        return [([*front, "attention", "output_proj", kind], array)]
    return [([*path, kind], array)]


def _at(model: Any, path: list[str]) -> Any:
    for part in path:
        model = getattr(model, "layers", model)
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    return model


# the training step


def train_step(chain: optax.GradientTransformation) -> Callable:
    """`((x, y), model, state, optimizer state) -> (the last three, loss)`, jitted, with its state donated."""

    def loss_of(model, state, x, y):
        forward = jax.vmap(model, in_axes=(0, None), out_axes=(0, None), axis_name="batch")
        logits, state = forward(x, state)
        logits = logits.reshape(-1, logits.shape[-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), state

    @eqx.filter_jit(donate="all-except-first")
    def step(batch, model, state, moments):
        (loss, state), grads = eqx.filter_value_and_grad(loss_of, has_aux=True)(model, state, *batch)
        updates, moments = chain.update(grads, moments, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, moments, loss

    return step


def make_step(work: Any) -> Callable[[], jax.Array]:
    """The step of a `steps.Work`."""
    places = count()
    make = eqx.nn.make_with_state(MODELS[work.model])
    model, state = make(lambda: jax.random.key(next(places)))
    model = loaded(model, work.weights())
    options = {name: value for name, value in work.options.items() if name != "lr"}
    chain = {"SGD": optax.sgd, "Adam": optax.adam}[work.optimizer](work.options["lr"], **options)
    moments = chain.init(eqx.filter(model, eqx.is_inexact_array))
    batch = tuple(jnp.asarray(array) for array in work.batch())
    step = train_step(chain)

    def run():
        nonlocal model, state, moments
        model, state, moments, loss = step(batch, model, state, moments)
        return loss

    return run
