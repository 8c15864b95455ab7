"""Products by groups, compared with torch, and gradients of convolutions as functions of their own."""

import pytest
from parity import agree

SHAPES = {
    "rows": ((8, 16), (2, 16, 8), True),
    "columns": ((2, 8, 16), (16, 8), True),
    "contraction": ((16, 8), (8, 8), True),
    "all": ((2, 8, 16), (2, 16, 8), False),
}


def values(lib, shape, dtype="float32"):
    size = 1
    for n in shape:
        size *= n
    return (lib.arange(size, dtype=lib.float32) * 0.37).sin().reshape(shape).to(getattr(lib, dtype))


def pair(lib, how, dtype="float32"):
    """Operands in the layouts that torch asks for: the second one by columns."""
    one, two, cut = SHAPES[how]
    right = values(lib, (*two[:-2], two[-1], two[-2]), dtype).transpose(-1, -2)
    return values(lib, one, dtype), right, lib.tensor([3, 8], dtype=lib.int32) if cut else None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", SHAPES)
def test_grouped_mm(how, dtype):
    def script(lib):
        a, b, offs = pair(lib, how, dtype)
        if how == "contraction":
            a = values(lib, (8, 16), dtype).mT
        return lib.nn.functional.grouped_mm(a, b, offs=offs)

    agree(script)


@pytest.mark.parametrize("how", ["rows", "all"])
def test_gradients(how):
    def script(lib):
        a, b, offs = pair(lib, how)
        a, b = a.requires_grad_(), b.requires_grad_()
        out = lib.nn.functional.grouped_mm(a, b, offs=offs)
        return list(lib.autograd.grad((out * values(lib, out.shape)).sum(), (a, b)))

    agree(script)


def test_refusals():
    call = lambda lib, a, b, **more: lib.nn.functional.grouped_mm(lib.ones(a), lib.ones(b), **more)
    agree(lambda lib: call(lib, (8, 4), (2, 4, 8)))
    agree(lambda lib: call(lib, (2, 8, 4), (2, 4, 8), offs=lib.tensor([4, 8], dtype=lib.int32)))
    agree(lambda lib: call(lib, (8, 4), (2, 8, 8), offs=lib.tensor([4, 8], dtype=lib.int32)))
    agree(lambda lib: call(lib, (8, 4), (2, 4, 8), offs=lib.tensor([4, 6, 8], dtype=lib.int32)))
    agree(lambda lib: call(lib, (8,), (2, 4, 8)))
    agree(lambda lib: call(lib, (8, 4), (2, 4, 8), offs=lib.tensor([4, 8], dtype=lib.int32), bias=lib.ones(8)))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_of_convolutions(dims):
    def script(lib):
        spread = (2, 1, 1) if dims == 2 else (1, 0, 1)  # stride, padding, dilation
        x, weight = values(lib, (2, 4, *(5,) * dims)), values(lib, (6, 2, *(3,) * dims))
        out = getattr(lib.nn.functional, f"conv{dims}d")(x, weight, None, *spread, 2)
        cotangent = values(lib, out.shape)
        of_input, of_weight = (getattr(lib.nn.grad, f"conv{dims}d_{what}") for what in ("input", "weight"))
        return [
            of_input(x.shape, weight, cotangent, *spread, groups=2),
            of_weight(x, weight.shape, cotangent, *spread, groups=2),
        ]

    agree(script)
