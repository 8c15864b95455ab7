"""A small convolutional network learns scikit-learn's handwritten digits: the torch loop, compiled by one decorator.

Run `python examples/train_digits.py`. It prints the test accuracy after each epoch, leaves a picture of the curves in
digits.png, and exits with 1 if the accuracy stays below 97 %. With --eager the same loop runs uncompiled.
"""

import argparse
import sys
import time

import digits_data
from tqdm import tqdm

import jtorch as torch
import jtorch.nn as nn
import jtorch.nn.functional as F


class DigitsNet(nn.Module):
    """Two convolutions and two linear layers. Shape: (N, 1, 8, 8) -> (N, 10)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(32 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.max_pool2d(x, 2).flatten(1)
        x = F.relu(self.fc1(self.dropout(x)))
        return self.fc2(self.dropout(x))


def train(epochs=12, batch_size=64, seed=0, eager=False):
    """Train a fresh network. Returns it with the history of its losses and accuracies."""
    torch.manual_seed(seed)
    train_x, train_y, test_x, test_y = (torch.from_numpy(array) for array in digits_data.load())
    model = DigitsNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    @torch.compile(disable=eager)
    def train_step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    @torch.compile(disable=eager)
    @torch.no_grad()
    def accuracy(x, y):
        return (model(x).argmax(1) == y).float().mean()

    history = digits_data.History()
    for epoch in range(1, epochs + 1):
        model.train()
        losses = []
        order = torch.randperm(len(train_x))
        steps = range(0, len(train_x) - batch_size + 1, batch_size)
        for start in tqdm(steps, desc=f"epoch {epoch}", leave=False):
            chosen = order[start : start + batch_size]
            losses.append(train_step(train_x[chosen], train_y[chosen]))
        model.eval()
        tqdm.write(history.add(torch.stack(losses).mean().item(), accuracy(test_x, test_y).item()))
    return model, history


def main():
    """Train as the command line says. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eager", action="store_true", help="run the loop uncompiled")
    parser.add_argument("--plot", default="digits.png", metavar="FILE", help="where the picture goes")
    options = parser.parse_args()

    start = time.perf_counter()
    _, history = train(options.epochs, options.batch_size, options.seed, options.eager)
    history.plot(options.plot)
    reached = history.accuracies[-1]
    print(f"test accuracy {reached:.2%} after {time.perf_counter() - start:.1f} s; curves in {options.plot}")
    if reached < digits_data.TARGET:
        print(f"expected at least {digits_data.TARGET:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
