"""`python -m jtorch.testing pkg.mod:make_torch pkg.mod:make_jtorch --input 2,3,32,32`: `parity` as a command."""

import argparse
import importlib
import sys
from typing import Any

import numpy as np

from jtorch.testing.modules import parity


def _made(path: str) -> Any:
    """What the function that a path names makes."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)()


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 if everything agrees, else 1."""
    parser = argparse.ArgumentParser(prog="python -m jtorch.testing", description="Compare a module with PyTorch's.")
    parser.add_argument("torch", help="pkg.mod:function that makes the module of PyTorch")
    parser.add_argument("jtorch", help="pkg.mod:function that makes the module of jtorch")
    parser.add_argument(
        "--input", type=_shape, action="append", required=True, metavar="N,C,...", help="shape of an input"
    )
    parser.add_argument("--steps", type=int, default=0, help="steps of SGD to compare too")
    parser.add_argument("--html", metavar="PATH", help="write a page with plots")
    options = parser.parse_args(arguments)
    sys.path.insert(0, "")
    stream = np.random.default_rng(0)
    inputs = [stream.standard_normal(shape).astype(np.float32) for shape in options.input]
    report = parity(_made(options.torch), _made(options.jtorch), *inputs, steps=options.steps)
    print(report)
    if options.html:
        report.to_html(options.html)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
