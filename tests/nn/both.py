"""The same code run by torch and by jtorch, and what came of it in a form that can be compared."""

import warnings

import numpy as np
import torch

import jtorch


def plain(value):
    """A result without the types that differ between the libraries."""
    if isinstance(value, torch.Tensor | jtorch.Tensor):
        return (
            "tensor",
            str(value.dtype),
            tuple(value.shape),
            np.asarray(value.detach()).tolist(),
            value.requires_grad,
        )
    if isinstance(value, torch.nn.Module | jtorch.nn.Module):
        return repr(value)
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, type({}.keys()) | type({}.values()) | type({}.items())) or hasattr(value, "__next__"):
        return [plain(v) for v in value]
    return value


def outcome(case, lib):
    """What `case(lib)` returned or raised, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(case(lib))
        except Exception as error:
            result = (type(error).__name__, str(error).replace("jtorch.nn.", "torch.nn.modules."))
    return result, [str(w.message).split(" See ")[0] for w in caught]


def check(case):
    """The two libraries do the same."""
    ours, theirs = outcome(case, jtorch), outcome(case, torch)
    assert ours == theirs, f"\njtorch: {ours}\ntorch:  {theirs}"


def filled(module):
    """The module with its parameters and buffers set to 0, 1, 2, … divided by 10."""
    lib = torch if isinstance(module, torch.nn.Module) else jtorch
    with lib.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.copy_(lib.arange(tensor.numel()).reshape(tensor.shape) / 10)
    return module


def net(lib):
    """A module with everything: children, a buffer, one that is not saved, a tied weight, None of each kind."""
    nn = lib.nn

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(lib.ones(2))
            self.register_buffer("count", lib.zeros(1))
            self.register_buffer("cache", lib.zeros(2), persistent=False)
            self.register_buffer("nothing", None)
            self.register_parameter("none", None)
            self.plain = 4

        def forward(self, x, more=0.0):
            return x * self.factor + more

        def extra_repr(self):
            return "by=2"

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = Scale()
            self.layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
            self.again = self.scale
            self.off = None
            self.add_module("gone", None)
            self.loose = [nn.Linear(1, 1)]
            self.tied = nn.Linear(3, 2)
            self.tied.weight = self.layers[1].weight

        def forward(self, x):
            return self.scale(self.layers(x))

    return filled(Net())


def scale(lib):
    return net(lib).scale


def waved(module):
    """The module with its parameters set to values of a sine, all different."""
    lib, start = torch if isinstance(module, torch.nn.Module) else jtorch, 1
    for tensor in module.parameters():
        values = (lib.arange(start, start + tensor.numel()).to(tensor.dtype) ** 2 * 0.7).sin()
        tensor.data = values.reshape(tensor.shape)
        start += tensor.numel()
    return module


def state(module):
    """Everything in a module's state: names, tensors, and what it looks like."""
    named = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    return [repr(module), list(named), list(named.values()), [n for n, _ in module.named_parameters()]]


def trained(lib, model, x, steps=2):
    """Outputs and state of a model over some steps; jtorch's are compiled, and compared with eager ones by their user."""
    optimizer = lib.optim.SGD(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).pow(2).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = jtorch.compile(step) if lib is jtorch else step
    return [[step(x) for _ in range(steps)], state(model)]
