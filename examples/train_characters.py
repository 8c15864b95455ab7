"""A small model learns to write Python's own help texts, letter by letter: the torch loop, compiled by one decorator.

Run `python examples/train_characters.py --model lstm`, or `--model transformer`. It prints the loss on text that it does
not train on after each epoch, then a line of its own writing, and exits with 1 if the last loss is above the model's
bound (in nats a letter; a model that only knew how often each letter comes would reach 3.3).
"""

import argparse
import sys
import time
from pydoc_data.topics import topics

import numpy as np
from tqdm import tqdm

import jtorch as torch
import jtorch.nn as nn
import jtorch.nn.functional as F

BOUND = {"lstm": 1.65, "transformer": 1.8}
WINDOW = 64


def load():
    """(the numbers of the letters to train on, those held out, the alphabet)."""
    text = "\n".join(topics[name] for name in sorted(topics))
    alphabet = sorted(set(text))
    place = {letter: i for i, letter in enumerate(alphabet)}
    numbers = np.array([place[letter] for letter in text], np.int32)
    border = len(numbers) * 9 // 10
    return torch.from_numpy(numbers[:border]), torch.from_numpy(numbers[border:]), alphabet


class LSTMModel(nn.Module):
    """An embedding, an LSTM and a linear layer. Shape: (N, T) letters -> (N, T, letters) logits."""

    def __init__(self, letters, size=128):
        super().__init__()
        self.embedding = nn.Embedding(letters, 48)
        self.lstm = nn.LSTM(48, size, batch_first=True)
        self.out = nn.Linear(size, letters)

    def forward(self, x):
        return self.out(self.lstm(self.embedding(x))[0])


class TransformerModel(nn.Module):
    """Two encoder layers in which no letter sees a later one. Shape: (N, T) letters -> (N, T, letters) logits."""

    def __init__(self, letters, size=64):
        super().__init__()
        self.embedding = nn.Embedding(letters, size)
        self.position = nn.Embedding(WINDOW, size)
        layer = nn.TransformerEncoderLayer(size, 4, 2 * size, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(size, letters)
        self.register_buffer("mask", torch.ones(WINDOW, WINDOW, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x):
        time = x.shape[1]
        embedded = self.embedding(x) + self.position(torch.arange(time))
        return self.out(self.encoder(embedded, mask=self.mask[:time, :time], is_causal=True))


MODELS = {"lstm": LSTMModel, "transformer": TransformerModel}


def windows(numbers, starts):
    """The texts of one letter more than the model sees that begin at these places. Shape: (N) -> (N, WINDOW + 1)."""
    return numbers[starts.unsqueeze(1) + torch.arange(WINDOW + 1)]


def train(name, epochs=6, steps=100, batch_size=32, seed=0):
    """Train a fresh model. Returns it, its alphabet and the held-out loss after each epoch."""
    torch.manual_seed(seed)
    training, held_out, alphabet = load()
    model = MODELS[name](len(alphabet))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=epochs * steps)

    def loss_of(texts):
        return F.cross_entropy(model(texts[:, :-1]).flatten(0, 1), texts[:, 1:].flatten().long())

    @torch.compile
    def train_step(texts):
        optimizer.zero_grad()
        loss = loss_of(texts)
        loss.backward()
        optimizer.step()
        return loss.detach()

    @torch.compile
    @torch.no_grad()
    def evaluate(texts):
        return loss_of(texts)

    test_texts = windows(held_out, torch.arange(0, len(held_out) - WINDOW - 1, WINDOW))
    losses = []
    for epoch in range(1, epochs + 1):
        model.train()
        for _ in tqdm(range(steps), desc=f"epoch {epoch}", leave=False):
            train_step(windows(training, torch.randint(0, len(training) - WINDOW - 1, (batch_size,))))
            scheduler.step()
        model.eval()
        losses.append(evaluate(test_texts).item())
        tqdm.write(f"epoch {epoch}  held-out loss {losses[-1]:.3f}")
    return model, alphabet, losses


def write(model, alphabet, length=WINDOW):
    """A line of the model's own, each letter drawn by its probability."""

    @torch.compile
    @torch.no_grad()
    def next_letter(text, place):
        return torch.multinomial(F.softmax(model(text)[0, place], -1), 1)

    text = torch.zeros(1, length, dtype=torch.int64)
    for place in range(length - 1):
        text[0, place + 1] = next_letter(text, torch.tensor(place))[0]
    return "".join(alphabet[i] for i in text[0].tolist())


def main():
    """Train as the command line says. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Train a small character model on Python's help texts.")
    parser.add_argument("--model", choices=MODELS, default="lstm")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=100, help="steps of an epoch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    start = time.perf_counter()
    model, alphabet, losses = train(options.model, options.epochs, options.steps, options.batch_size, options.seed)
    bound = BOUND[options.model]
    print(f"held-out loss {losses[-1]:.3f} after {time.perf_counter() - start:.1f} s; the model writes:")
    print(write(model, alphabet))
    if losses[-1] > bound:
        print(f"expected at most {bound}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
