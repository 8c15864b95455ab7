"""The same models as pure functions of a dictionary of arrays, and their training step: what a JAX programmer writes.

The layers come from a namespace. `lax_layers` is plain `jax.lax`; `op_layers` is the functions of `jtorch.ops` on plain
arrays, which tells the cost of jtorch's formulations from the cost of its tensors. Parameters have torch's names and
layouts, so that every candidate starts from the same weights.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.models import (
    DEPTH,
    HEADS,
    LSTM_LAYERS,
    MOBILE_STAGES,
    NEXT_GROUPS,
    NEXT_STAGES,
    PATCH,
    RESNET_STAGES,
    WIDTH,
)

Arrays = dict[str, jax.Array]

# the layers in jax.lax


def _linear(x, weight, bias):
    return x @ weight.T + bias


def _conv2d(x, weight, bias=None, stride=1, padding=0, groups=1):
    layout = ("NCHW", "OIHW", "NCHW")
    y = lax.conv_general_dilated(
        x, weight, (stride, stride), [(padding, padding)] * 2, dimension_numbers=layout, feature_group_count=groups
    )
    return y if bias is None else y + bias[:, None, None]


def _max_pool2d(x, size):
    n, c, h, w = x.shape
    return x[:, :, : h // size * size, : w // size * size].reshape(n, c, h // size, size, w // size, size).max((3, 5))


def _batch_norm(x, weight, bias, epsilon=1e-5):
    """The normalized batch, with its mean and variance per channel."""
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    scale = weight * lax.rsqrt(var + epsilon)
    return x * scale[:, None, None] + (bias - mean * scale)[:, None, None], mean, var


def _cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def _layer_norm(x, weight, bias, epsilon=1e-5):
    return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + epsilon) * weight + bias


def _attention(q, k, v, causal):
    """Shape: (N, heads, T, E) each -> (N, heads, T, E)"""
    scores = jnp.einsum("nhte,nhse->nhts", q, k) / q.shape[-1] ** 0.5
    if causal:
        scores = jnp.where(jnp.tri(q.shape[2], dtype=bool), scores, -jnp.inf)
    return jnp.einsum("nhts,nhse->nhte", jax.nn.softmax(scores), v)


def _lstm(x, weights):
    """One layer after the other, the projection of the inputs outside the loop. Shape: (N, T, E) -> (N, T, H)"""
    for w_ih, w_hh, b_ih, b_hh in weights:
        projected = (x @ w_ih.T + (b_ih + b_hh)).swapaxes(0, 1)

        def step(carry, now, w_hh=w_hh):
            h, c = carry
            i, f, g, o = jnp.split(now + h @ w_hh.T, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        start = jnp.zeros((x.shape[0], w_hh.shape[1]), x.dtype)
        x = lax.scan(step, (start, start), projected)[1].swapaxes(0, 1)
    return x


lax_layers = SimpleNamespace(
    linear=_linear,
    conv2d=_conv2d,
    max_pool2d=_max_pool2d,
    relu=jax.nn.relu,
    batch_norm=_batch_norm,
    cross_entropy=_cross_entropy,
    layer_norm=_layer_norm,
    gelu=lambda x: jax.nn.gelu(x, approximate=False),
    relu6=jax.nn.relu6,
    attention=_attention,
    embedding=lambda x, weight: weight[x],
    lstm=_lstm,
    compiler_options={},
)


def op_layers() -> SimpleNamespace:
    """The layers as functions of jtorch.ops."""
    from jtorch import compiler_options, ops

    def batch_norm(x, weight, bias):
        y = ops.batch_norm(x, None, None, weight, bias, training=True)
        return y, x.mean((0, 2, 3)), x.var((0, 2, 3))

    return SimpleNamespace(
        linear=ops.linear,
        conv2d=ops.conv2d,
        max_pool2d=ops.max_pool2d,
        relu=ops.relu,
        batch_norm=batch_norm,
        cross_entropy=ops.cross_entropy,
        layer_norm=lambda x, weight, bias: ops.layer_norm(x, weight.shape, weight, bias),
        gelu=ops.gelu,
        relu6=ops.relu6,
        attention=lambda q, k, v, causal: ops.scaled_dot_product_attention(q, k, v, is_causal=causal),
        embedding=ops.embedding,
        lstm=_lstm,
        compiler_options=compiler_options(),
    )


# the models: (layers, parameters, buffers, x) -> (logits, new buffers)


def mlp(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.mlp`."""
    x = layers.relu(layers.linear(x, p["fc1.weight"], p["fc1.bias"]))
    x = layers.relu(layers.linear(x, p["fc2.weight"], p["fc2.bias"]))
    return layers.linear(x, p["fc3.weight"], p["fc3.bias"]), buffers


def perceptron(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.perceptron`."""
    for place in range(0, len(p) - 2, 2):
        x = layers.relu(layers.linear(x, p[f"body.{place}.weight"], p[f"body.{place}.bias"]))
    return layers.linear(x, p["fc.weight"], p["fc.bias"]), buffers


def lenet(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.lenet`."""
    x = layers.max_pool2d(layers.relu(layers.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=2)), 2)
    x = layers.max_pool2d(layers.relu(layers.conv2d(x, p["conv2.weight"], p["conv2.bias"])), 2)
    x = x.reshape(x.shape[0], -1)
    x = layers.relu(layers.linear(x, p["fc1.weight"], p["fc1.bias"]))
    x = layers.relu(layers.linear(x, p["fc2.weight"], p["fc2.bias"]))
    return layers.linear(x, p["fc3.weight"], p["fc3.bias"]), buffers


def _norms(layers: Any, p: Arrays, buffers: Arrays, momentum: float = 0.1) -> tuple[Callable, Arrays]:
    """Batch normalization by the name of the layer, and the buffers that it leaves."""
    new = dict(buffers)

    def norm(x, name):
        y, mean, var = layers.batch_norm(x, p[f"{name}.weight"], p[f"{name}.bias"])
        count = x.size // x.shape[1]
        for key, value in (("running_mean", mean), ("running_var", var * (count / (count - 1)))):
            new[f"{name}.{key}"] = (1 - momentum) * new[f"{name}.{key}"] + momentum * lax.stop_gradient(value)
        new[f"{name}.num_batches_tracked"] = new[f"{name}.num_batches_tracked"] + 1
        return y

    return norm, new


def _blocks(stages: tuple, block: Callable, x: jax.Array) -> jax.Array:
    """Two blocks for each stage, the first with the stage's stride."""
    for stage, (_, stride) in enumerate(stages):
        x = block(x, f"blocks.{2 * stage}", stride)
        x = block(x, f"blocks.{2 * stage + 1}", 1)
    return x


def resnet18(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.resnet18`."""
    norm, new = _norms(layers, p, buffers)

    def block(x, name, stride):
        y = layers.conv2d(x, p[f"{name}.conv1.weight"], stride=stride, padding=1)
        y = layers.relu(norm(y, f"{name}.bn1"))
        y = norm(layers.conv2d(y, p[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if f"{name}.shortcut.0.weight" in p:
            x = norm(layers.conv2d(x, p[f"{name}.shortcut.0.weight"], stride=stride), f"{name}.shortcut.1")
        return layers.relu(y + x)

    x = layers.relu(norm(layers.conv2d(x, p["stem.0.weight"], padding=1), "stem.1"))
    x = _blocks(RESNET_STAGES, block, x)
    return layers.linear(x.mean((2, 3)), p["fc.weight"], p["fc.bias"]), new


def mobilenet(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.mobilenet`."""
    norm, new = _norms(layers, p, buffers)

    def block(x, name, stride):
        body = f"{name}.body"
        y = layers.relu6(norm(layers.conv2d(x, p[f"{body}.0.weight"]), f"{body}.1"))
        depthwise = p[f"{body}.3.weight"]
        y = layers.conv2d(y, depthwise, stride=stride, padding=1, groups=len(depthwise))
        y = layers.relu6(norm(y, f"{body}.4"))
        y = norm(layers.conv2d(y, p[f"{body}.6.weight"]), f"{body}.7")
        return x + y if y.shape == x.shape else y

    x = layers.relu6(norm(layers.conv2d(x, p["stem.0.weight"], padding=1), "stem.1"))
    x = _blocks(MOBILE_STAGES, block, x)
    return layers.linear(x.mean((2, 3)), p["fc.weight"], p["fc.bias"]), new


def resnext(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.resnext`."""
    norm, new = _norms(layers, p, buffers)

    def block(x, name, stride):
        body = f"{name}.body"
        y = layers.relu(norm(layers.conv2d(x, p[f"{body}.0.weight"]), f"{body}.1"))
        y = layers.conv2d(y, p[f"{body}.3.weight"], stride=stride, padding=1, groups=NEXT_GROUPS)
        y = layers.relu(norm(y, f"{body}.4"))
        y = norm(layers.conv2d(y, p[f"{body}.6.weight"]), f"{body}.7")
        if f"{name}.shortcut.0.weight" in p:
            x = norm(layers.conv2d(x, p[f"{name}.shortcut.0.weight"], stride=stride), f"{name}.shortcut.1")
        return layers.relu(y + x)

    x = layers.relu(norm(layers.conv2d(x, p["stem.0.weight"], padding=1), "stem.1"))
    x = _blocks(NEXT_STAGES, block, x)
    return layers.linear(x.mean((2, 3)), p["fc.weight"], p["fc.bias"]), new


def lstm(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.lstm`."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [[p[f"lstm.{kind}_l{layer}"] for kind in kinds] for layer in range(LSTM_LAYERS)]
    x = layers.lstm(layers.embedding(x, p["embedding.weight"]), weights)
    return layers.linear(x.reshape(-1, x.shape[-1]), p["fc.weight"], p["fc.bias"]), buffers


def _transformer(layers: Any, p: Arrays, x: jax.Array, causal: bool) -> jax.Array:
    """The blocks and the normalization after them."""

    def linear(x, name):
        return layers.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    def norm(x, name):
        return layers.layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"])

    n, t, _ = x.shape
    for place in range(DEPTH):
        name = f"blocks.{place}"
        qkv = linear(norm(x, f"{name}.ln1"), f"{name}.qkv").reshape(n, t, 3, HEADS, WIDTH // HEADS)
        y = layers.attention(*qkv.transpose(2, 0, 3, 1, 4), causal)
        x = x + linear(y.transpose(0, 2, 1, 3).reshape(n, t, WIDTH), f"{name}.out")
        x = x + linear(layers.gelu(linear(norm(x, f"{name}.ln2"), f"{name}.fc1")), f"{name}.fc2")
    return norm(x, "ln")


def gpt(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.gpt`."""
    x = layers.embedding(x, p["tokens.weight"]) + p["places.weight"][: x.shape[1]]
    x = _transformer(layers, p, x, causal=True)
    return layers.linear(x.reshape(-1, WIDTH), p["fc.weight"], p["fc.bias"]), buffers


def vit(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.vit`."""
    x = layers.conv2d(x, p["patches.weight"], p["patches.bias"], stride=PATCH)
    x = x.reshape(*x.shape[:2], -1).transpose(0, 2, 1) + p["places.weight"]
    x = _transformer(layers, p, x, causal=False)
    return layers.linear(x.mean(1), p["fc.weight"], p["fc.bias"]), buffers


# the optimizers: (state, parameters, gradients) -> (state, parameters)


def sgd(p: Arrays, lr: float, momentum: float) -> tuple[Any, Callable]:
    """SGD with momentum: its first state, and its update."""

    def update(velocity, p, g):
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, g)
        return velocity, jax.tree.map(lambda p, v: p - lr * v, p, velocity)

    return jax.tree.map(jnp.zeros_like, p), update


def adam(p: Arrays, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> tuple[Any, Callable]:
    """Adam: its first state, and its update."""

    def update(state, p, g):
        count, first, second = state
        count = count + 1
        first = jax.tree.map(lambda m, g: betas[0] * m + (1 - betas[0]) * g, first, g)
        second = jax.tree.map(lambda v, g: betas[1] * v + (1 - betas[1]) * g * g, second, g)
        rate, scale = lr / (1 - betas[0] ** count), 1 / (1 - betas[1] ** count)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + eps), p, first, second)
        return (count, first, second), p

    return (jnp.zeros(()), jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)), update


def train_step(model: Callable, layers: Any, update: Callable) -> Callable:
    """`(parameters, buffers, optimizer state, x, y) -> (the same three, loss)`, jitted, with its state donated.

    XLA is told what the layers want it to be told.
    """

    def step(p, buffers, state, x, y):
        def loss_of(p):
            logits, new = model(layers, p, buffers, x)
            return layers.cross_entropy(logits, y), new

        (loss, buffers), g = jax.value_and_grad(loss_of, has_aux=True)(p)
        state, p = update(state, p, g)
        return p, buffers, state, loss

    return jax.jit(step, donate_argnums=(0, 1, 2), compiler_options=layers.compiler_options)
