"""The machinery of ops: how arguments are split, respelled and promoted, what a declaration refuses, who may take part."""

import inspect
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch as pytorch

import jtorch
from jtorch.ops import _args, _op
from jtorch.ops._op import Array, DType, Key, Scalar

pytestmark = pytest.mark.x64_off


@pytest.fixture
def declared():
    """`op` and `derived` whose names leave the registry afterwards."""
    before = dict(_op.registry)
    yield _op.op, _op.derived
    _op.registry.clear()
    _op.registry.update(before)


# binding


def test_annotations_decide_what_is_traced(declared):
    op, _ = declared

    @op
    def sample_op(input: Array, others: Sequence[Array], weight: Array | None = None, scale: Scalar = 1.0, dim: int = 0,
                  size: int | Sequence[int] = (1,), dtype: DType | None = None, *, key: Key = None, keepdim: bool = False) -> Array:  # fmt: skip
        """An op with one parameter of each kind."""
        return input

    assert sample_op.traced == ("input", "others", "weight", "scale", "key")
    assert sample_op.static == ("dim", "size", "dtype", "keepdim")
    assert sample_op.key_at == 4 and sample_op.spread == (1,)
    array = jnp.ones(1)
    traced, static = sample_op.bind(array, (2,), dim=3, size=[4, 5], dtype=jtorch.float32, key=6, keepdim=True)
    assert traced == (array, (2,), None, 1.0, 6) and static == (3, (4, 5), np.dtype("float32"), True)
    assert hash(static)
    with pytest.raises(TypeError, match="positional"):
        sample_op.bind(array, (2,), None, 1.0, 0, 1, None, 6)
    with pytest.raises(TypeError):
        sample_op.bind(array, (2,), unknown=1)
    assert list(inspect.signature(sample_op).parameters) == list(inspect.signature(sample_op.body).parameters)


def test_signatures_are_read_when_ops_are_used(declared):
    op, _ = declared

    @op
    def sample_op(input: Array, dim: int = 0) -> Array:
        """The input and a number."""
        return input + dim

    assert inspect.signature(sample_op) and not hasattr(sample_op, "__wrapped__")
    assert "bind" not in vars(sample_op)
    together = Barrier(8)

    def call(number: int) -> float:
        together.wait()
        return float(sample_op(jnp.ones(()), dim=number))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [1.0 + number for number in range(8)]
    assert "bind" in vars(sample_op) and type(sample_op) is _op.Op
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        sample_op.unknown  # noqa: B018


def test_importing_reads_no_signatures():
    program = """if True:
        import jtorch
        from jtorch.ops import _op

        print([name for name, op in _op.registry.items() if "bind" in vars(op)])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_number_is_refused_where_an_array_belongs(declared):
    op, _ = declared

    @op
    def sample_op(input: Array, other: Array | Scalar, weight: Array | None = None) -> Array:
        """The input."""
        return input

    @op
    def pair_op(input: Array | Scalar, other: Array | Scalar) -> Array:
        """The sum."""
        return input + other

    array = jnp.ones(1)
    sample_op(array, 2), pair_op(array, 2), pair_op(2.0, array), pair_op(np.float32(1), 2)
    for call in (
        lambda: sample_op(2, array),
        lambda: sample_op(None, array),
        lambda: sample_op(array, 2, 2.0),
        lambda: sample_op([1, 2], array),
    ):
        with pytest.raises(
            TypeError, match=r"sample_op\(\): argument '(input|weight)' \(position [13]\) must be Tensor"
        ):
            call()
    with pytest.raises(TypeError, match="pair_op"):
        pair_op(1, 2)


def test_traced_numbers_share_a_program(declared):
    op, _ = declared
    traces = []

    @op
    def scaled(input: Array, factor: Scalar = 1.0, dim: int = 0) -> Array:
        """The input times the factor."""
        traces.append(dim)
        return input * factor

    x = jnp.ones(3)
    assert [float(scaled(x, f).sum()) for f in (0.5, 2.0, 3.0)] == [1.5, 6.0, 9.0] and len(traces) == 1
    scaled(x, 2.0, dim=1)
    assert traces == [0, 1]
    scaled(x, 2)
    assert len(traces) == 3  # an integer is another dtype


def test_starred_sizes():
    x = jnp.arange(6.0)
    for out in (
        jtorch.ops.reshape(x, (2, 3)),
        jtorch.tensor([0.0] * 6).view(2, 3),
        jtorch.tensor([0.0] * 6).view([2, 3]),
    ):
        assert out.shape == (2, 3)


@pytest.mark.parametrize("call", ["t.sum(x, axis=1)", "t.sum(x, axis=1, keepdims=True)", "t.softmax(x, axis=0)", "t.add(x, x2=x)", "t.sum(input=x)",
                                  "t.mean(a=x)", "t.maximum(x1=x, x2=x)", "t.flip(x, dims=(0,))", "x.sum(axis=(0, 1))", "t.cat([x, x], axis=1)"])  # fmt: skip
def test_numpys_spellings(call):
    parity.agree(lambda t: eval(call, {"t": t, "x": t.tensor([[1.0, 2.0], [3.0, 5.0]])}))


def test_array_in_array_out_and_tensor_in_tensor_out():
    add = jtorch.ops.add
    x = np.ones(2, np.float32)
    assert isinstance(add(jnp.ones(2), x), jax.Array) and isinstance(add(x, 1.0), jax.Array)
    for one, two in (
        (jtorch.ones(2), jnp.ones(2)),
        (jnp.ones(2), jtorch.ones(2)),
        (jtorch.ones(2), x),
        (1.0, jtorch.ones(2)),
    ):
        assert isinstance(add(one, two), jtorch.Tensor)


def test_ops_are_functions_under_every_transformation():
    elu, x = jtorch.ops.elu, jnp.linspace(-1.0, 1.0, 6)
    expected = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    for found in (elu(x), jax.jit(elu)(x), jax.vmap(elu)(x), jax.jit(jax.vmap(elu))(x)):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    slope = jax.vmap(jax.grad(elu))(x)
    np.testing.assert_allclose(slope, np.where(x > 0, 1, np.exp(x)), rtol=1e-5)
    np.testing.assert_allclose(jax.jvp(elu, (x,), (jnp.ones(6),))[1], slope, rtol=1e-5)


# declaring


def test_a_name_is_declared_once(declared):
    op, derived = declared
    for declare in (op, derived):
        with pytest.raises(TypeError, match="declared twice"):

            @declare
            def add(input: Array) -> Array:
                """Another add."""
                return input


def test_an_alias_is_a_name(declared):
    op, _ = declared
    with pytest.raises(TypeError, match="declared twice"):

        @op(alias="relu")
        def rectified(input: Array) -> Array:
            """Another relu."""
            return input


def test_unknown_flags_are_refused(declared):
    with pytest.raises(TypeError, match="unknown op flags"):
        declared[0](inplaces=True)


def test_ops_pickle_and_show_their_signature():
    for name in ("relu", "max", "conv2d"):
        op = _op.registry[name]
        assert pickle.loads(pickle.dumps(op)) is op
        assert repr(op).startswith(f"<op {name}(")


# who takes part


def test_protocol():
    class Tagged:
        def __init__(self, array, tag):
            self.array, self.tag = array, tag

        @staticmethod
        def __jtorch_op__(op, traced, static):
            plain = [x.array if isinstance(x, Tagged) else x for x in traced]
            return Tagged(op._apply(op, plain, static), op.name)

    out = jtorch.ops.relu(Tagged(jnp.array([-1.0, 2.0]), ""))
    assert isinstance(out, Tagged) and out.tag == "relu" and out.array.tolist() == [0.0, 2.0]


def test_out_takes_the_result():
    out = jtorch.zeros(2)
    assert jtorch.add(jtorch.ones(2), 1, out=out) is out and out.tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match="cannot be written"):
        jtorch.ops.add(jnp.ones(2), 1, out=jnp.zeros(2))


def test_eager_validation_runs_on_values_only():
    embedding, table = jtorch.nn.functional.embedding, jnp.ones((3, 2))
    with pytest.raises(IndexError):
        embedding(jnp.array([3]), table)
    assert jax.jit(embedding)(jnp.array([3]), table).shape == (1, 2)


def test_results_are_strongly_typed():
    weak = jnp.asarray(2.0)
    assert weak.weak_type and not jtorch.ops.mul(weak, 3.0).aval.weak_type
    assert not jtorch.ops.mul(2.0, 3.0)._value().aval.weak_type
    assert not jtorch.ops.full((2,), 1.0).aval.weak_type


# dtypes

DTYPES = [
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
]
WIDE = {"float64", "complex128", "int64"}


def _here(names):
    return [n for n in names if jax.config.jax_enable_x64 or n not in WIDE]


def _known(dtype):
    """JAX has no complex32; complex64 holds its values."""
    return str(dtype).replace("complex32", "complex64")


OPERANDS = {
    "array": lambda t, d: t.ones(2, dtype=getattr(t, d)),
    "scalar": lambda t, d: t.ones((), dtype=getattr(t, d)),
}
NUMBERS = {"bool": True, "int": 2, "float": 2.5, "complex": 1j}


@pytest.mark.parametrize("one", DTYPES)
@pytest.mark.parametrize("kinds", [("array", "array"), ("array", "scalar"), ("scalar", "array"), ("scalar", "scalar")])
def test_promotion_of_pairs(one, kinds):
    if one not in _here(DTYPES):
        return
    for two in _here(DTYPES):
        mine, yours = (t.result_type(OPERANDS[kinds[0]](t, one), OPERANDS[kinds[1]](t, two)) for t in (jtorch, pytorch))
        assert str(mine) == _known(yours), f"{kinds[0]} {one} with {kinds[1]} {two}"
        mine, yours = (t.promote_types(getattr(t, one), getattr(t, two)) for t in (jtorch, pytorch))
        assert str(mine) == str(yours), f"promote_types({one}, {two})"
        assert jtorch.can_cast(getattr(jtorch, one), getattr(jtorch, two)) == pytorch.can_cast(
            getattr(pytorch, one), getattr(pytorch, two)
        )


@pytest.mark.parametrize("one", DTYPES)
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", OPERANDS)
def test_promotion_with_numbers(one, number, kind):
    if one not in _here(DTYPES):
        return
    value = NUMBERS[number]
    yours = getattr(pytorch, _known(pytorch.result_type(OPERANDS[kind](pytorch, one), value)).removeprefix("torch."))
    x = OPERANDS[kind](jtorch, one)
    assert str(jtorch.result_type(x, value)).removeprefix("torch.") == parity.dtype_here(yours)
    assert str((x * value).dtype).removeprefix("torch.") == parity.dtype_here(yours)
    assert str(jax.jit(lambda a: jtorch.ops.mul(a, value))(x.jax()).dtype) == parity.dtype_here(yours)


@pytest.mark.parametrize("one", DTYPES)
def test_promotion_in_ops(one):
    if one not in _here(DTYPES):
        return
    for two in _here(DTYPES):
        for name in ("add", "div"):
            if "complex" in two + one and "float16" in (one, two):
                continue

            def call(t, two=two, name=name):
                x, y = t.ones(2, dtype=getattr(t, one)), t.ones(2, dtype=getattr(t, two))
                return getattr(t, name)(x, y)

            parity.agree(call)


# arguments


def test_dims_are_checked_as_in_torch():
    for value, error in ((2, IndexError), (-3, IndexError)):
        with pytest.raises(error):
            _args.dim(value, 2, "f")
    assert [_args.dim(-1, 3, "f"), _args.dim(-1, 0, "f")] == [2, 0]
    with pytest.raises(RuntimeError, match="once"):
        _args.dims((0, -2), 2, "f")
    assert _args.ntuple(2, 3, "f", "size") == (2, 2, 2) and _args.ntuple([4], 2, "f", "size") == (4, 4)
    with pytest.raises(RuntimeError, match="expected size"):
        _args.ntuple((1, 2, 3), 2, "f", "size")


def test_messages_name_the_function():
    for call, name in (
        (lambda: jtorch.ops.softmax(jnp.ones(2), dim=4), "softmax"),
        (lambda: jtorch.ops.cat([jnp.ones(2), jnp.ones((2, 2))]), "cat"),
        (lambda: jtorch.ops.mse_loss(jnp.ones(2), jnp.ones(2), reduction="mode"), "mse_loss"),
    ):
        with pytest.raises((IndexError, RuntimeError, ValueError), match=rf"^{name}\(\): expected .*, got "):
            call()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_sixteen_bits_are_added_up_in_float32(name):
    """Where torch does so too, and where it stops at 256: many numbers added at one place."""
    dtype, places = getattr(jtorch, name), jtorch.zeros(5000, dtype=jtorch.int64)
    ones, exact = jtorch.ones(5000, dtype=dtype), 4992 if name == "bfloat16" else 5000
    assert jtorch.zeros(2, dtype=dtype).scatter_add_(0, places, ones)[0].item() == exact
    assert jtorch.zeros(2, dtype=dtype).index_add_(0, places, ones)[0].item() == exact
    leaf = jtorch.zeros(2, dtype=dtype, requires_grad=True)
    leaf.gather(0, places).sum().backward()
    assert leaf.grad[0].item() == exact


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_one_number_normalized_has_no_gradient(name):
    x = jtorch.tensor(-6.28125, dtype=getattr(jtorch, name), requires_grad=True)
    jtorch.masked.normalize(x, float("inf"), 0).backward(jtorch.tensor(1.13, dtype=x.dtype))
    assert x.grad.item() == 0
