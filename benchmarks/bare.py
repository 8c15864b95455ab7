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

from benchmarks.models import RESNET_STAGES

Arrays = dict[str, jax.Array]

# the layers in jax.lax


def _linear(x, weight, bias):
    return x @ weight.T + bias


def _conv2d(x, weight, bias=None, stride=1, padding=0):
    pads = [(padding, padding)] * 2
    y = lax.conv_general_dilated(x, weight, (stride, stride), pads, dimension_numbers=("NCHW", "OIHW", "NCHW"))
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


lax_layers = SimpleNamespace(
    linear=_linear,
    conv2d=_conv2d,
    max_pool2d=_max_pool2d,
    relu=jax.nn.relu,
    batch_norm=_batch_norm,
    cross_entropy=_cross_entropy,
)


def op_layers() -> SimpleNamespace:
    """The layers as functions of jtorch.ops."""
    from jtorch import ops

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
    )


# the models: (layers, parameters, buffers, x) -> (logits, new buffers)


def mlp(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.mlp`."""
    x = layers.relu(layers.linear(x, p["fc1.weight"], p["fc1.bias"]))
    x = layers.relu(layers.linear(x, p["fc2.weight"], p["fc2.bias"]))
    return layers.linear(x, p["fc3.weight"], p["fc3.bias"]), buffers


def lenet(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.lenet`."""
    x = layers.max_pool2d(layers.relu(layers.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=2)), 2)
    x = layers.max_pool2d(layers.relu(layers.conv2d(x, p["conv2.weight"], p["conv2.bias"])), 2)
    x = x.reshape(x.shape[0], -1)
    x = layers.relu(layers.linear(x, p["fc1.weight"], p["fc1.bias"]))
    x = layers.relu(layers.linear(x, p["fc2.weight"], p["fc2.bias"]))
    return layers.linear(x, p["fc3.weight"], p["fc3.bias"]), buffers


def resnet18(layers: Any, p: Arrays, buffers: Arrays, x: jax.Array) -> tuple[jax.Array, Arrays]:
    """The twin of `models.resnet18`."""
    new = dict(buffers)

    def norm(x, name, momentum=0.1):
        y, mean, var = layers.batch_norm(x, p[f"{name}.weight"], p[f"{name}.bias"])
        count = x.size // x.shape[1]
        for key, value in (("running_mean", mean), ("running_var", var * (count / (count - 1)))):
            new[f"{name}.{key}"] = (1 - momentum) * new[f"{name}.{key}"] + momentum * lax.stop_gradient(value)
        new[f"{name}.num_batches_tracked"] = new[f"{name}.num_batches_tracked"] + 1
        return y

    def block(x, name, stride):
        y = layers.conv2d(x, p[f"{name}.conv1.weight"], stride=stride, padding=1)
        y = layers.relu(norm(y, f"{name}.bn1"))
        y = norm(layers.conv2d(y, p[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if f"{name}.shortcut.0.weight" in p:
            x = norm(layers.conv2d(x, p[f"{name}.shortcut.0.weight"], stride=stride), f"{name}.shortcut.1")
        return layers.relu(y + x)

    x = layers.relu(norm(layers.conv2d(x, p["stem.0.weight"], padding=1), "stem.1"))
    for stage, (_, stride) in enumerate(RESNET_STAGES):
        x = block(x, f"blocks.{2 * stage}", stride)
        x = block(x, f"blocks.{2 * stage + 1}", 1)
    return layers.linear(x.mean((2, 3)), p["fc.weight"], p["fc.bias"]), new


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
    """`(parameters, buffers, optimizer state, x, y) -> (the same three, loss)`, jitted, with its state donated."""

    def step(p, buffers, state, x, y):
        def loss_of(p):
            logits, new = model(layers, p, buffers, x)
            return layers.cross_entropy(logits, y), new

        (loss, buffers), g = jax.value_and_grad(loss_of, has_aux=True)(p)
        state, p = update(state, p, g)
        return p, buffers, state, loss

    return jax.jit(step, donate_argnums=(0, 1, 2))
