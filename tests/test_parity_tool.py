"""`testing.parity` agrees where two modules do, and names the layer where they do not."""

import pathlib
import subprocess
import sys

import pytest
import torch

import jtorch
from jtorch.testing import parity


def deep(nn, wrong=None):
    """Thirty layers in blocks, one of them other than it should be."""
    blocks = []
    for i in range(5):
        eps = 1e-2 if wrong == "eps" and i == 3 else 1e-5
        padding = {"padding": 2, "dilation": 2} if wrong == "padding" and i == 2 else {"padding": 1}
        blocks.append(
            nn.Sequential(
                nn.Conv2d(3 if i == 0 else 6, 6, 3, **padding),
                nn.BatchNorm2d(6, eps=eps),
                nn.GELU(approximate="tanh" if wrong == "gelu" and i == 4 else "none"),
                nn.Conv2d(6, 6, 1, bias=False),
                nn.GroupNorm(2, 6),
            )
        )
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(6 * 25, 12), nn.ReLU(), nn.Linear(12, 3))


X = torch.linspace(-1, 1, 2 * 3 * 25).reshape(2, 3, 5, 5)


@pytest.mark.parametrize("training", [True, False])
def test_modules_that_agree(training):
    theirs = deep(torch.nn).train(training)
    before = {k: v.clone() for k, v in theirs.state_dict().items()}
    report = parity(theirs, deep(jtorch.nn), X, steps=3)
    assert report.ok and report.first is None and "All of" in str(report)
    assert {row.kind for row in report.rows} == {"output", "gradient", "buffer", "loss"}
    assert [row.name for row in report.rows[:2]] == ["0.0", "0.1"] and len(report.rows) > 60
    assert all(torch.equal(v, before[k]) for k, v in theirs.state_dict().items())


@pytest.mark.parametrize("wrong, layer, kind", [("eps", "3.1", "BatchNorm2d"), ("padding", "2.0", "Conv2d"), ("gelu", "4.2", "GELU")])  # fmt: skip
def test_the_first_layer_that_departs_is_named(wrong, layer, kind, tmp_path):
    report = parity(deep(torch.nn), deep(jtorch.nn, wrong), X)
    assert not report.ok and report.first is not None
    assert (report.first.kind, report.first.name, report.first.what) == ("output", layer, kind)
    assert f"'{layer}' ({kind})" in report.verdict() and ">>  output  " in str(report)
    report.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<tr") == len(report.rows) + 1 and "<svg" in page and f"<td>{layer}</td>" in page


def test_a_transposed_weight():
    theirs, ours = torch.nn.Linear(4, 4), jtorch.nn.Linear(4, 4)
    ours.register_forward_hook(lambda module, args, out: args[0] @ module.weight + module.bias)
    report = parity(
        torch.nn.Sequential(torch.nn.Tanh(), theirs), jtorch.nn.Sequential(jtorch.nn.Tanh(), ours), torch.randn(3, 4)
    )
    assert report.first is not None and report.first.name == "1"


def test_other_weights_are_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        parity(torch.nn.Linear(2, 3), jtorch.nn.Linear(2, 4), torch.ones(1, 2))


def test_command(tmp_path):
    source = "import {0}\ndef make():\n    return {0}.nn.Sequential({0}.nn.Linear(4, 3), {0}.nn.{1}())\n"
    for name, library, kind in (("one", "torch", "ReLU"), ("two", "jtorch", "ReLU"), ("three", "jtorch", "Tanh")):
        (tmp_path / f"{name}.py").write_text(source.format(library, kind))
    root = pathlib.Path(jtorch.__file__).parent.parent
    for other, code, said in (("two", 0, "All of"), ("three", 1, "the first is the output of '1' (ReLU)")):
        command = [sys.executable, "-m", "jtorch.testing", "one:make", f"{other}:make", "--input", "2,4"]
        done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(root), "PATH": ""}, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == code and said in done.stdout, done.stdout + done.stderr
