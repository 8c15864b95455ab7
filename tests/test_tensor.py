"""Tensor beside torch's: one script, run under both libraries, has to give the same values, errors and texts."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch as pytorch

import jtorch

pytestmark = pytest.mark.x64_off

SCRIPTS: list = []
ERRORS: list = []
script, wrong = parity.scripts(SCRIPTS), parity.scripts(ERRORS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_script(script):
    parity.agree(script)


@pytest.mark.parametrize("script", ERRORS, ids=lambda f: f.__name__)
def test_error_text(script):
    parity.agree(script, text=True)


# views write through


WRITES = {
    "select": lambda x: x[1],
    "negative": lambda x: x[-1],
    "slice": lambda x: x[1:3],
    "steps": lambda x: x[::2, 1::2],
    "column": lambda x: x[:, 2],
    "none": lambda x: x[None, 1],
    "ellipsis": lambda x: x[..., 0],
    "view": lambda x: x.view(-1),
    "reshape": lambda x: x.reshape(2, -1),
    "transpose": lambda x: x.transpose(0, 1),
    "t": lambda x: x.t(),
    "T": lambda x: x.T,
    "permute": lambda x: x.permute(1, 0),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
    "flatten": lambda x: x.flatten(),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "chunk": lambda x: x.chunk(2)[1],
    "split": lambda x: x.split(3)[0],
    "unbind": lambda x: x.unbind(1)[2],
    "narrow": lambda x: x.narrow(0, 1, 2),
    "diagonal": lambda x: x.diagonal(),
    "select_method": lambda x: x.select(1, 3),
    "unfold": lambda x: x.unfold(0, 2, 2),
    "view_of_view": lambda x: x.view(2, 2, 4)[1].t()[1:3],
    "movedim": lambda x: x.movedim(0, 1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "detach_of_view": lambda x: x[1].detach(),
    "tensor_split": lambda x: x.tensor_split(3)[0],
    "hsplit": lambda x: x.hsplit(2)[1],
    "view_as": lambda x: x.view_as(x.view(2, 8).view(4, 4)),
    "real": lambda x: x.real,
    "mT": lambda x: x.mT,
}
STEPS = {
    "fill_": lambda v: v.fill_(7.0),
    "add_": lambda v: v.add_(100),
    "mul_": lambda v: v.mul_(v.clone()),
    "setitem": lambda v: v.__setitem__(0, -1.0),
    "zero_": lambda v: v.zero_(),
    "copy_": lambda v: v.copy_(v * 2 + 1),
}


@pytest.mark.parametrize("view", WRITES)
@pytest.mark.parametrize("step", STEPS)
def test_view_writes_through(view, step):
    def write(torch):
        x = torch.arange(16.0).reshape(4, 4).clone()
        v = WRITES[view](x)
        STEPS[step](v)
        return [x, v]

    parity.agree(write)


@pytest.mark.parametrize("view", WRITES)
def test_view_sees_later_writes(view):
    def read(torch):
        x = torch.arange(16.0).reshape(4, 4).clone()
        v = WRITES[view](x)
        x.mul_(2)
        x[2, 2] = 50.0
        return [x, v, v.shape[0], v.is_contiguous(), list(v.stride())]

    parity.agree(read)


CUT = {"detach", "data", "detach_of_view"}
OF_MANY = {"chunk", "split", "unbind", "tensor_split", "hsplit"}
"""torch refuses to write into one of several views of one call; jtorch gives the gradient."""


@pytest.mark.parametrize("view", sorted(WRITES.keys() - CUT - OF_MANY))
def test_gradient_through_a_written_view(view):
    def differentiate(torch):
        w = torch.arange(16.0).reshape(4, 4).requires_grad_()
        x = w * 3
        v = WRITES[view](x)
        v.mul_(2)
        x.add_(1)
        (x * x).sum().backward()
        return [x, v, w.grad]

    parity.agree(differentiate)


# in place


@script
def in_place_keeps_the_object(torch):
    x = torch.ones(3)
    y = x
    x += 2
    x -= 1
    x *= 3
    x /= 2
    x **= 2
    return [x, y, x is y]


@script
def in_place_moves_the_tape(torch):
    w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = w * 2
    x.mul_(0.5).add_(x)
    x[1] = 10 * w[0]
    x.sum().backward()
    return [x, w.grad, x.is_leaf]


@script
def in_place_under_no_grad(torch):
    w = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        w.add_(1)
        w[0] = 5.0
        w -= 0.5
    return [w, w.is_leaf, w.grad_fn is None]


@script
def setitem_with_masks_and_lists(torch):
    x = torch.arange(12.0).reshape(3, 4)
    x[x > 7] = -1.0
    x[[0, 2], [1, 1]] = torch.tensor([10.0, 20.0])
    x[1, ::2] = x[0, 1::2]
    x[torch.tensor([0, 1]), 3] += 1
    return x


@script
def complex_numbers_as_bools(torch):
    z = torch.tensor([1j, 0j, 2.0, float("nan")])
    x = torch.zeros(4, dtype=torch.bool)
    x[:] = z
    return [z.bool(), z.to(torch.bool), z.type(torch.bool), x, torch.zeros(4, dtype=torch.bool).copy_(z)]


@script
def arithmetic_on_numbers_alone(torch):
    made = [torch.add(1, 2), torch.sub(7, 2.5), torch.mul(2j, 3), torch.div(7, 2), torch.true_divide(1, 4)]
    made += [torch.add(1, 2.5, alpha=2), torch.floor_divide(7.0, 2), torch.div(7.0, 2, rounding_mode="trunc")]
    return [isinstance(x, torch.Tensor) for x in made] + made


@script
def complex_functions_at_infinity(torch):
    parts = [0.0, 1.0, -2.5, float("inf"), -float("inf"), float("nan")]
    z = torch.tensor([complex(a, b) for a in parts for b in parts])
    return [f(z) for f in (torch.abs, torch.exp, torch.exp2, torch.sqrt, torch.atan, torch.atanh)]


@script
def gradients_of_complex_functions(torch):
    z = torch.tensor([3 + 4j, -1 + 0.5j, 0j, 0.5 - 2j], requires_grad=True)
    smooth = z + 0.25
    total = z.abs().sum() + sum(f(smooth).real.sum() for f in (torch.exp2, torch.sqrt, torch.sigmoid, torch.atanh))
    (first,) = torch.autograd.grad(total, z, create_graph=True)
    first[1].real.backward()
    return [first, z.grad]


@script
def setitem_gradient(torch):
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    x = torch.zeros(2, 2)
    x[0] = w
    x[1, 1] = w[0] * w[1]
    (x**2).sum().backward()
    return [x, w.grad]


@script
def copy_broadcasts_and_casts(torch):
    x = torch.zeros(2, 3)
    x.copy_(torch.tensor([1, 2, 3]))
    return x


@script
def out_argument(torch):
    out = torch.empty(3)
    result = torch.add(torch.ones(3), 2, out=out)
    return [out, result is out]


@script
def resizing_in_place(torch):
    x = torch.arange(6.0).reshape(1, 2, 3)
    x.squeeze_(0).unsqueeze_(2)
    y = torch.arange(6.0).reshape(2, 3)
    y.t_()
    return [x, y, list(x.shape)]


@script
def squeezed_base_of_a_view(torch):
    z = torch.zeros(1, 3)
    v = z[0]
    z.squeeze_()
    z[1] = 5
    return [v, z]


@script
def write_through_an_older_view(torch):
    z = torch.zeros(1, 3)
    v = z[0]
    z.squeeze_()
    v[1] = 5
    z.add_(1)
    return [v, z, z.shape]


@script
def gradient_through_an_older_view(torch):
    x = torch.ones(1, 3, requires_grad=True)
    w = x * 2
    v = w[0]
    w.squeeze_()
    w.mul_(3)
    (v * torch.tensor([1.0, 2, 3])).sum().backward()
    return [v, w, x.grad]


@script
def gradient_of_a_squeezed_tensor(torch):
    x = torch.ones(1, 3, requires_grad=True)
    w = x * 2
    w.squeeze_()
    (w * torch.tensor([1.0, 2, 3])).sum().backward()
    return [w, x.grad]


@script
def detached_before_a_squeeze(torch):
    z = torch.zeros(1, 3)
    v = z.detach()
    z.squeeze_()
    z += 1
    return [v, list(v.shape)]


@script
def transposed_in_place(torch):
    z = torch.zeros(2, 3)
    v = z[0]
    z.t_()
    z[1] = 5
    return [v, z, z.stride(), z.is_contiguous()]


@script
def squeezed_view(torch):
    y = torch.arange(6.0).reshape(1, 6)
    u = y[:, 1:5]
    w = u[0]
    u.squeeze_(0)
    u[0] = 9
    y[0, 2] = 7
    w[2] = 11
    return [y, u, w]


@script
def many_shapes_in_place(torch):
    z = torch.arange(6.0)
    z.unsqueeze_(0)
    z.transpose_(0, 1)
    z.squeeze_()
    v = z[2:]
    z.unsqueeze_(-1)
    v += 1
    return [z, v]


@script
def squeezed_leaf(torch):
    x = torch.ones(1, 3, requires_grad=True)
    with torch.no_grad():
        x.squeeze_()
    (x * torch.tensor([1.0, 2, 3])).sum().backward()
    return [x.shape, x.requires_grad, x.is_leaf, x.grad]


@script
def swapped_in_place(torch):
    z = torch.zeros(2, 3)
    z.swapaxes_(0, 1)
    z.swapdims_(0, 1)
    z.transpose_(0, 1)
    z[0] = 1
    z.copy_(torch.arange(6.0).reshape(3, 2))
    z.data.add_(1)
    return [z, z.clone(), z.reshape(-1)]


@script
def detached_of_a_squeezed_tensor(torch):
    x = torch.ones(2, 1, requires_grad=True)
    y = x * 3
    d = y.detach()
    y.squeeze_()
    d[0] = 7
    return [y, d, y.grad_fn is not None]


@script
def views_outlive_a_squeezed_tensor(torch):
    z = torch.zeros(1, 3)
    w = z[0]
    z.squeeze_()
    q = w[1:]
    z.add_(2)
    w.add_(1)
    q.add_(5)
    del z
    return [w, q]


@script
def in_place_with_another_dtype(torch):
    x = torch.ones(3, requires_grad=True)
    y = x * 1
    y[:2].mul_(torch.tensor([2.0, 3.0], dtype=torch.float16, requires_grad=True))
    y.add_(torch.ones(3, dtype=torch.float16, requires_grad=True))
    y.sum().backward()
    w = torch.ones(3, requires_grad=True)
    z = torch.ones(3, dtype=torch.float16) * 2
    z.mul_(w)
    z.sum().backward()
    return [y, x.grad, z, w.grad]


@wrong
def in_place_on_a_leaf(torch):
    torch.ones(3, requires_grad=True).add_(1)


@wrong
def setitem_on_a_leaf(torch):
    torch.ones(3, requires_grad=True)[0] = 1


@wrong
def in_place_on_a_view_of_a_leaf(torch):
    torch.ones(3, requires_grad=True)[:2].zero_()


@wrong
def in_place_result_of_higher_dtype(torch):
    torch.ones(3, dtype=torch.int32).mul_(1.5)


@wrong
def in_place_result_of_other_shape(torch):
    torch.ones(3).add_(torch.ones(2, 3))


@wrong
def write_into_an_expanded_view(torch):
    torch.ones(1, 3).expand(4, 3).add_(1)


@script
def saved_value_changed_before_backward(torch):
    """torch refuses; so must we, or give the gradient of the values that were there. An array never changes: we give it."""
    x = torch.ones(2, requires_grad=True)
    y = x * 3
    z = y + 1
    z.mul_(2)
    z.sum().backward()
    return x.grad


# what a tensor is


@script
def sizes(torch):
    x = torch.zeros(2, 3, 4)
    return [list(x.shape), x.size(1), x.ndim, x.dim(), x.numel(), x.nelement(), len(x), x.nbytes, x.element_size(),
            repr(x.shape), repr(x.shape[1:]), repr(x.size() + x.size()), x.shape.numel(), list(x.stride())]  # fmt: skip


@script
def flags(torch):
    x = torch.ones(2, requires_grad=True)
    y = (x * 2).detach()
    return [x.is_leaf, x.requires_grad, y.requires_grad, (x * 2).is_leaf, x.is_floating_point(), x.long().is_floating_point(),
            str(x.dtype), str(x.device), str(x.layout), x.is_contiguous(), x.t().is_contiguous(), x.type(), x.int().type()]  # fmt: skip


@script
def python_numbers(torch):
    x = torch.tensor([1.5, 2.5])
    return [float(x[0]), int(x[1]), bool(x[0] > 1), x.tolist(), x[0].item(), f"{x[0]:.2f}", [1, 2, 3][torch.tensor(1)],
            torch.tensor(3).item(), torch.tensor(True).item(), 2.5 in x]  # fmt: skip


@script
def iteration(torch):
    return [row.sum() for row in torch.arange(6.0).reshape(3, 2)]


@script
def operators(torch):
    x, y = torch.tensor([5, -3, 2]), torch.tensor([2.0, 2.0, -3.0])
    return [x + y, x - 1, 1 - x, x * 2, 3 / y, x / 2, x // 2, x % 3, -7 % y, x**2, 2**y, -x, abs(x), +y, ~(x > 0), x @ x,
            (x > 0) & (y > 0), (x > 0) | (y > 0), (x > 0) ^ (y > 0), x << 1, x >> 1, x == 5, x != 5, x >= 2, x < y, x == 5]  # fmt: skip


@script
def numpy_beside_tensors(torch):
    x = torch.tensor([1.0, 2.0])
    return [x * np.float32(2), x + float(np.float64(1.5)), torch.tensor(np.arange(3)), torch.tensor(np.float32(2)),
            torch.as_tensor(np.ones(2, np.float32)), torch.from_numpy(np.arange(4, dtype=np.int32))]  # fmt: skip


@script
def indexing(torch):
    x = torch.arange(24).reshape(2, 3, 4)
    i = torch.tensor([1, 0])
    return [x[0], x[-1, 1], x[:, 1], x[..., -1], x[:, None].shape, x[i], x[:, i], x[i, i], x[0, [2, 0]], x[x % 5 == 0],
            x[True].shape, x[:, ::2, 1:3], x[i, :, i], x[torch.tensor([[0, 1], [1, 0]])], x[1, 2, 3], x[[0]], x[:, [True, False, True]]]  # fmt: skip


@script
def identity_and_hash(torch):
    x, y = torch.ones(2), torch.ones(2)
    return [len({x, y, x}), {x: 1}[x], x is x.to(torch.float32), x.to(torch.float32, copy=True) is x, x.float() is x]


@script
def conversions(torch):
    x = torch.tensor([0.0, 1.7, -2.9])
    return [x.int(), x.long(), x.bool(), x.half(), x.bfloat16(), x.to(torch.int8), x.type(torch.int16), x.double(),
            x.type_as(torch.tensor(1)), x.to(torch.tensor(1, dtype=torch.int32)), x.byte() if False else x.short()]  # fmt: skip


@script
def news(torch):
    x = torch.ones(2, 3, dtype=torch.int32)
    return [x.new_zeros(2), x.new_ones((1, 2)), x.new_full((2,), 7), x.new_tensor([1, 2]), x.new_empty(3).shape[0],
            torch.zeros_like(x), torch.ones_like(x, dtype=torch.float32), torch.full_like(x, 3)]  # fmt: skip


@script
def creation(torch):
    return [torch.zeros(2, 3), torch.ones((2,)), torch.full((2, 2), 3), torch.full((2,), 2.5), torch.arange(5), torch.arange(1, 2, 0.25),
            torch.arange(5, 0, -2), torch.linspace(0, 1, 5), torch.eye(3), torch.eye(2, 3), torch.tensor([[1, 2], [3, 4]]),
            torch.tensor(2.5), torch.tensor(True), torch.tensor([1, 2.5]), torch.tensor([]), torch.tensor(1 + 2j), torch.zeros(0, 3),
            torch.tril_indices(3, 3), torch.logspace(0, 2, 3), torch.zeros(2, dtype=torch.int64), torch.tensor([1, 0], dtype=torch.bool)]  # fmt: skip


@script
def default_dtype(torch):
    try:
        torch.set_default_dtype(torch.float64)
        return [torch.ones(2), torch.tensor(1.5), torch.arange(3) / 2, str(torch.get_default_dtype()) if False else 0]
    finally:
        torch.set_default_dtype(torch.float32)


@wrong
def bool_of_many(torch):
    bool(torch.ones(2))


@wrong
def item_of_many(torch):
    torch.ones(2).item()


@wrong
def len_of_scalar(torch):
    len(torch.tensor(1))


@wrong
def iterate_scalar(torch):
    list(torch.tensor(1))


@wrong
def numpy_of_grad(torch):
    torch.ones(2, requires_grad=True).numpy()


@wrong
def integer_with_grad(torch):
    torch.ones(2, dtype=torch.int64).requires_grad_()


@wrong
def integer_created_with_grad(torch):
    torch.tensor([1, 2], requires_grad=True)


@wrong
def requires_grad_off_for_computed(torch):
    (torch.ones(2, requires_grad=True) * 2).requires_grad_(False)


@wrong
def deepcopy_of_computed(torch):
    copy.deepcopy(torch.ones(2, requires_grad=True) * 2)


def test_other_errors():
    for call in (
        lambda torch: torch.ones(3)[5],
        lambda torch: torch.ones(3)[1, 2],
        lambda torch: torch.ones(2, 3) + torch.ones(4),
        lambda torch: torch.ones(2, 3) @ torch.ones(2, 3),
        lambda torch: torch.ones(6).view(4),
        lambda torch: torch.ones(2, 3).t().view(6),
        lambda torch: torch.tensor([[1], [1, 2]]),
        lambda torch: torch.tensor("text"),
        lambda torch: torch.tensor(None),
        lambda torch: torch.ones(2).sum(3),
        lambda torch: torch.ones(3, dtype=torch.int64).float_power_(2),
        lambda torch: torch.device("toaster"),
        lambda torch: torch.from_numpy([1, 2]),
        lambda torch: torch.cat([torch.ones(2), torch.ones(2, 2)]),
        lambda torch: torch.ones(2).gather(0, torch.tensor([5])),
        lambda torch: torch.ones(2).index_select(0, torch.tensor([2])),
        lambda torch: torch.nn.functional.nll_loss(torch.ones(2, 3), torch.tensor([0, 3])),
        lambda torch: torch.nn.functional.embedding(torch.tensor([9]), torch.ones(3, 2)),
    ):
        parity.agree(call)


def test_device_that_is_not_there():
    parity.agree(lambda torch: torch.ones(2).to("cuda:77"))


# copies, pickles, exchange


@script
def deepcopies(torch):
    x = torch.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    y = copy.deepcopy(x)
    z = copy.deepcopy([x, x])
    return [y, y.grad, y is x, z[0] is z[1], y.requires_grad]


@script
def pickles(torch):
    x = torch.arange(3.0, requires_grad=True)
    y = pickle.loads(pickle.dumps(x))
    return [y, y.requires_grad, pickle.loads(pickle.dumps(torch.tensor([1, 2], dtype=torch.int8)))]


def test_exchange_with_numpy_and_jax():
    x = jtorch.tensor([[1.0, 2.0]])
    assert isinstance(x.jax(), jax.Array) and isinstance(np.asarray(x), np.ndarray)
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0, 0] = 3.0
    assert np.array_equal(np.sin(x.numpy()), np.sin(np.array([[1.0, 2.0]], np.float32)))
    parity.same(jtorch.from_dlpack(pytorch.arange(4.0)), pytorch.arange(4.0), "from torch")
    parity.same(jtorch.tensor(pytorch.from_dlpack(x).numpy()), pytorch.tensor([[1.0, 2.0]]), "to torch")


def test_tensor_beside_array_keeps_the_tape():
    x = jtorch.ones(3, requires_grad=True)
    for y in (
        jnp.arange(3.0) * x,
        x * jnp.arange(3.0),
        np.arange(3.0, dtype=np.float32) * x,
        jnp.arange(3.0, dtype=jnp.float32) @ x,
    ):
        assert isinstance(y, jtorch.Tensor) and y.requires_grad


def test_tensor_is_a_pytree():
    x = jtorch.ones(2, requires_grad=True)
    doubled = jax.tree.map(lambda a: a * 2, {"x": x})
    assert isinstance(doubled["x"], jtorch.Tensor) and doubled["x"].requires_grad
    assert float(jax.jit(lambda t: (t * 2).sum().jax())(x)) == 4.0


def test_write_from_inside_a_foreign_trace_is_refused():
    x = jtorch.ones(2)

    def write(a):
        x.add_(a)
        return a

    with pytest.raises(RuntimeError, match="would be lost"):
        jax.jit(write)(jnp.ones(2))
    assert x.tolist() == [1.0, 1.0]


def _late_reads(torch):
    """What views see that were made before a write, a change of grad mode, or a change of memory, and read after it."""
    seen = []
    for _ in range(2):  # the first time a view is read at once
        a = torch.ones(2, 3, requires_grad=True)
        row = a.view(6)[2:4]
        with torch.no_grad():
            a.mul_(3)
            doubled = row * 2
        (row * row).sum().backward()
        seen += [row.requires_grad, doubled.requires_grad, a.grad.tolist()]
        p, b = torch.full((3,), 2.0, requires_grad=True), torch.zeros(2, 3)
        row = b[1]
        column = row.view(3, 1)
        b[1] = p * p
        column.sum().backward()
        seen += [row.tolist(), p.grad.tolist()]
        c = torch.zeros(2, 3)
        row = c[1]
        c.data = torch.ones(2, 3)
        c.fill_(5)
        seen += [row.tolist(), tuple(row.shape), row.dtype == torch.float32]
    return seen


def test_views_are_read_late():
    assert _late_reads(jtorch) == _late_reads(pytorch)


def test_unread_view_in_a_trace():
    a = jtorch.ones(2, 3)
    a.view(6)
    row = a.view(6)
    assert jax.jit(lambda x: (jtorch.Tensor(x) * row).sum().jax())(jnp.ones(6)) == 6
    assert row.sum().item() == 6


@pytest.mark.x64_off
def test_gradients_through_views_of_detached_leaves():
    """The second time of a kind, when a view is read late, and after a write that the graph does not see."""
    x = jtorch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for leaf_of in (
        lambda: x.detach().requires_grad_(),
        lambda: jtorch.nn.Parameter(x),
        lambda: x.clone().requires_grad_(),
    ):
        for _ in range(2):
            leaf = leaf_of()
            row, column = leaf[0], leaf.t()[1]
            with jtorch.no_grad():
                leaf.mul_(1)
            (row * column).sum().backward()
            assert leaf.grad.tolist() == [[2.0, 5.0], [0.0, 2.0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda t, layout: t.zeros(2, layout=layout),
        lambda t, layout: t.ones_like(t.ones(2), layout=layout),
        lambda t, layout: t.ones(2).new_zeros(2, layout=layout),
        lambda t, layout: t.scalar_tensor(1.0, layout=layout),
        lambda t, layout: t.randn(2, layout=layout),
    ],
)
def test_a_sparse_layout_is_refused(make):
    assert make(jtorch, jtorch.strided).layout is jtorch.strided
    with pytest.raises(NotImplementedError, match="sparse_coo"):
        make(jtorch, jtorch.sparse_coo)


@pytest.mark.parametrize("name", ["stride", "reshape"])
def test_result_on_a_permuted_tensor(name):
    found = []
    for t in (jtorch, pytorch):
        result = t.arange(6.0).reshape(2, 3).t() * 2
        flat = result.reshape(6)
        flat[0] = 100.0
        found.append(result.stride() if name == "stride" else result[0, 0].item())
    assert found[0] == found[1]
