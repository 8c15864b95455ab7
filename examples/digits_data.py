"""The data of the digits examples, 1,797 real images from scikit-learn, and the picture of how training went.

Plain NumPy: how the images become tensors or arrays is the business of each example.
"""

from typing import Any, NamedTuple

import numpy as np

TARGET = 0.97
"""The test accuracy that an example has to reach."""


class Digits(NamedTuple):
    """Images of 8x8 pixels, zero to one, with their labels. Shape: (N, 1, 8, 8) and (N,)."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def load() -> Digits:
    """1,437 images to train on and 360 to test with, every digit in proportion, always the same."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits: Any = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    y = digits.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=0, stratify=y)
    return Digits(x[train], y[train], x[test], y[test])


class History:
    """Loss and accuracy by epoch, and their picture."""

    def __init__(self):
        self.losses: list[float] = []
        self.accuracies: list[float] = []

    def add(self, loss: float, accuracy: float) -> str:
        """Note an epoch. Returns the line to print about it."""
        self.losses.append(loss)
        self.accuracies.append(accuracy)
        return f"epoch {len(self.losses):2d}  loss {loss:.4f}  test accuracy {accuracy:.4f}"

    def plot(self, path: str) -> None:
        """Draw both curves into an image file."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        epochs = range(1, len(self.losses) + 1)
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
        left.plot(epochs, self.losses, marker=".")
        left.set(title="training loss", xlabel="epoch", yscale="log")
        right.plot(epochs, self.accuracies, marker=".")
        right.axhline(TARGET, color="gray", linestyle="dashed")
        right.set(title=f"test accuracy, {self.accuracies[-1]:.1%} at the end", xlabel="epoch")
        for axes in (left, right):
            axes.grid(alpha=0.3)
        figure.savefig(path, dpi=120)
        pyplot.close(figure)
