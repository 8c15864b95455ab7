"""The network of train_digits.py, trained the JAX way: nnx.jit, nnx.value_and_grad, and an Optax optimizer.

The module is the same class. Called with plain arrays it returns plain arrays, and NNX carries its parameters, its
batch statistics and its random state. Run `python examples/train_digits_nnx.py`.
"""

import argparse
import sys

import digits_data
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tqdm import tqdm
from train_digits import DigitsNet

import jtorch
import jtorch.nn.functional as F


@nnx.jit
def train_step(model, optimizer, x, y):
    """One step of the optimizer on a batch. Returns the loss."""
    loss, grads = nnx.value_and_grad(lambda model: F.cross_entropy(model(x), y))(model)
    optimizer.update(model, grads)
    return loss


@nnx.jit
def accuracy(model, x, y):
    """The share of images that the model gets right."""
    return (model(x).argmax(1) == y).mean()


def train(epochs=12, batch_size=64, seed=0):
    """Train a fresh network. Returns it with the history of its losses and accuracies."""
    jtorch.manual_seed(seed)
    train_x, train_y, test_x, test_y = (jnp.asarray(array) for array in digits_data.load())
    model = DigitsNet()
    optimizer = nnx.Optimizer(model, optax.adamw(2e-3, weight_decay=1e-2), wrt=nnx.Param)

    history = digits_data.History()
    key = jax.random.key(seed)
    for epoch in range(1, epochs + 1):
        model.train()
        losses = []
        order = jax.random.permutation(jax.random.fold_in(key, epoch), len(train_x))
        steps = range(0, len(train_x) - batch_size + 1, batch_size)
        for start in tqdm(steps, desc=f"epoch {epoch}", leave=False):
            chosen = order[start : start + batch_size]
            losses.append(train_step(model, optimizer, train_x[chosen], train_y[chosen]))
        model.eval()
        tqdm.write(history.add(float(np.mean(losses)), float(accuracy(model, test_x, test_y))))
    return model, history


def main():
    """Train as the command line says. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", default="digits_nnx.png", metavar="FILE", help="where the picture goes")
    options = parser.parse_args()
    _, history = train(options.epochs, options.batch_size, options.seed)
    history.plot(options.plot)
    return 0 if history.accuracies[-1] >= digits_data.TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
