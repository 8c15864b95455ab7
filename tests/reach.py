"""How to reach the ops that no entry of torch's database is named after: the label of an entry whose samples lead to
them, or a function without arguments that makes the call, or two of them.
"""

import numpy as np

import jtorch
from jtorch import nn, ops
from jtorch.nn import functional as F


def a(*shape):
    """A tensor of numbers on both sides of zero."""
    return jtorch.tensor(np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32))


def positive(n, *batch):
    """Positive definite matrices."""
    half = a(*batch, n, n)
    return half @ half.mT + n * jtorch.eye(n)


def _set(index, value):
    tensor = a(4, 3)
    tensor[index] = value


def _lu_solve(n):
    return ops.linalg_lu_solve(*ops.linalg_lu_factor(positive(n)), a(n, 2))


_FORWARD = "nn.functional.multi_head_attention_forward"


def _attention():
    x = jtorch.linspace(-1, 1, 48).reshape(2, 2, 3, 4)
    return F.scaled_dot_product_attention(x, 2 - x, x * x, jtorch.linspace(-1, 1, 9).reshape(3, 3))


def _multi_head(need_weights=True):
    x = jtorch.linspace(-1, 1, 24).reshape(3, 2, 4)
    weight, bias = jtorch.linspace(-1, 1, 48).reshape(12, 4), jtorch.linspace(0, 1, 12)
    parts = (4, 2, weight, bias, None, None, False, 0.0, weight[:4], bias[:4])
    padding = jtorch.tensor([[False, False, True], [False, True, True]])
    return F.multi_head_attention_forward(x, 2 - x, x * x, *parts, need_weights=need_weights, key_padding_mask=padding)


def _pool_by_samples():
    F.fractional_max_pool2d(jtorch.rand(2, 3, 6, 6), 2, 3, _random_samples=jtorch.rand(2, 3, 2))
    F.fractional_max_pool3d(jtorch.rand(2, 3, 6, 6, 6), 2, 3, _random_samples=jtorch.rand(2, 3, 3))


def _affine_grid():
    F.affine_grid(jtorch.rand(2, 2, 3), (2, 1, 3, 4), align_corners=False)


def _cell(name, gates):
    states = (a(2, 4), a(2, 4)) if name == "lstm_cell" else a(2, 4)
    return getattr(jtorch, name)(a(2, 3), states, a(4 * gates, 3), a(4 * gates, 4), a(4 * gates), a(4 * gates))


def _network(mode, **options):
    return getattr(nn, mode)(3, 4, **options)(a(3, 2, 3))


def _layer(mode, gates=1):
    states = [a(1, 2, 4)] * (2 if mode == "lstm" else 1)
    params = [a(4 * gates, 3), a(4 * gates, 4), a(4 * gates), a(4 * gates)]
    return getattr(jtorch, mode)(
        a(3, 2, 3), states if mode == "lstm" else states[0], params, True, 1, 0.0, False, False, False
    )


def _packed():
    return nn.RNN(3, 4)(nn.utils.rnn.pack_sequence([a(1, 3), a(3, 3)], enforce_sorted=False))


def _clipped(clip, *options):
    module = nn.Linear(3, 4)
    module(a(2, 3)).sum().backward()
    return clip(module.parameters(), *options)


def _clusters(inputs):
    return nn.AdaptiveLogSoftmaxWithLoss(3, 9, [4, 6]).log_prob(inputs)


REACHED_BY: dict = {
    "_affine_grid": _affine_grid,
    "_all_log_prob": lambda: _clusters(a(2, 3)),
    "_alpha_dropout_but": lambda: F.alpha_dropout(a(3, 4), 0.4, training=True),
    "_alpha_dropout": lambda: F.alpha_dropout(a(3, 4), 0.4, training=True),
    "_batch_norm_evaluation": lambda: F.batch_norm(a(3, 4), a(4), a(4).exp(), a(4), a(4)),
    "_batch_norm_training": lambda: F.batch_norm(a(3, 4), a(4), a(4).exp(), a(4), a(4), training=True),
    "_class_log_prob": lambda: nn.AdaptiveLogSoftmaxWithLoss(3, 9, [4, 6])(a(2, 3), jtorch.tensor([1, 7])),
    "_clipped_to_norm": lambda: _clipped(nn.utils.clip_grad_norm_, 0.5),
    "_clipped_to_value": lambda: _clipped(nn.utils.clip_grad_value_, 0.5),
    "_ctc_loss": "nn.functional.ctc_loss",
    "_dropout_but": lambda: F.dropout(a(3, 4), 0.4),
    "_dropout": (lambda: F.dropout(a(3, 4), 0.4), lambda: F.dropout2d(a(2, 3, 2, 2), 0.4)),
    "_embedding": "nn.functional.embedding",
    "_embedding_bag": "nn.functional.embedding_bag",
    "_fractional_max_pool": _pool_by_samples,
    "_grid_sample": "nn.functional.grid_sample",
    "_instance_norm": lambda: F.instance_norm(a(2, 3, 5), a(3), a(3).exp(), a(3), a(3)),
    "_max_unpool": lambda: F.max_unpool2d(*F.max_pool2d_with_indices(a(1, 2, 4, 4), 2), 2),
    "_norms": lambda: ops.clipping._norms([a(3), a(2, 3)], 2.0),
    "_pair_distance": lambda: F.triplet_margin_with_distance_loss(a(3, 4), a(4, 3).mT, a(3, 4) + 1),
    "_randint": (lambda: ops.randint(0, 9, (3,)), lambda: ops.randint(2, 5, (2, 2))),
    "_recurrent": (lambda: _network("LSTM", bidirectional=True, proj_size=2), lambda: _network("GRU")),
    "_recurrent_dropping": lambda: _network("GRU", num_layers=2, dropout=0.5),
    "_rrelu": lambda: F.rrelu(a(3, 4), training=True),
    "_times_reciprocal": (lambda: 2.5 / a(3), lambda: 3 / a(2, 3).to(jtorch.bfloat16)),
    "_to_copy": lambda: a(3).to(jtorch.bfloat16),
    "_to_device": lambda: ops.casting._to_device(a(3), jtorch.device("cpu").jax()),
    "_total_norm": lambda: nn.utils.get_total_norm([a(3), a(2, 3)]),
    "_triplet_loss": lambda: F.triplet_margin_with_distance_loss(a(3, 4), a(4, 3).mT, a(3, 4) + 1, swap=True),
    "_weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)).weight,
    "adaptive_max_pool1d_with_indices": lambda: F.adaptive_max_pool1d_with_indices(a(1, 2, 4), 2),
    "adaptive_max_pool2d_with_indices": lambda: F.adaptive_max_pool2d_with_indices(a(1, 2, 4, 4), 2),
    "adaptive_max_pool3d_with_indices": lambda: F.adaptive_max_pool3d_with_indices(a(1, 2, 2, 4, 4), 2),
    "adjoint": lambda: jtorch.adjoint(a(2, 3)),
    "affine_grid": _affine_grid,
    "alpha_dropout": lambda: F.alpha_dropout(a(3, 4), 0.4, training=True),
    "attention_of": _attention,
    "attention_weights": _FORWARD,
    "attention_with_dropout": lambda: F.scaled_dot_product_attention(a(2, 3, 4), a(2, 3, 4), a(2, 3, 4), dropout_p=0.5),
    "bernoulli_like": lambda: a(3, 4).bernoulli_(0.4),
    "canonical_mask": _multi_head,
    "cauchy": (lambda: ops.cauchy(a(3, 4)), lambda: ops.cauchy(a(3), 1.0, 2.0)),
    "celu_": lambda: F.celu_(a(3), 2.0),
    "chain_matmul": lambda: jtorch.chain_matmul(a(2, 3), a(3, 4), a(4, 2)),
    "choose": (lambda: jtorch.where(a(3) > 0, a(3), 1.0), lambda: jtorch.where(a(2, 1) > 0, a(2, 3), a(3))),
    "condition_of": lambda: ops.linalg_cond(positive(3)),
    "conjugate_transpose": lambda: jtorch.adjoint(jtorch.complex(a(2, 3), a(2, 3))),
    "contiguous": lambda: ops.contiguous(a(3, 4)),
    "conv_tbc": lambda: jtorch.conv_tbc(a(5, 2, 3), a(3, 3, 4), a(4), 1),
    "cross_map_lrn2d": lambda: ops.cross_map_lrn2d(a(2, 4, 3, 3), 3),
    "det": lambda: jtorch.det(a(2, 3, 3)),
    "distinct": "unique",
    "distinct_runs": "unique_consecutive",
    "divide_rounded": "div.floor_rounding",
    "dropout": lambda: F.dropout(a(3, 4), 0.4),
    "dropout1d": lambda: F.dropout1d(a(2, 3, 4), 0.4),
    "einsum_of": "einsum",
    "elu_": lambda: F.elu_(a(3), 2.0),
    "drawn_by": lambda: jtorch.bernoulli(jtorch.rand(3, 4).requires_grad_()),
    "embedding_renorm": lambda: ops.embedding_renorm(a(4, 3), jtorch.tensor([0, 2, 0]), 0.5),
    "exponential": (lambda: ops.exponential(a(3, 4)), lambda: ops.exponential(a(3), 2.0)),
    "extreme": (lambda: a(3, 4).max(), lambda: a(3, 4).min()),
    "extreme_along": (lambda: a(3, 4).max(1), lambda: a(3, 4).min(0, keepdim=True)),
    "feature_alpha_dropout": lambda: F.feature_alpha_dropout(a(3, 4), 0.4, training=True),
    "fill_diagonal": (lambda: ops.fill_diagonal(a(3, 3), 2.0), lambda: ops.fill_diagonal(a(7, 3), 2.0, wrap=True)),
    "fold": lambda: F.fold(a(1, 8, 6), (3, 4), (2, 2)),
    "fractional_max_pool2d": _pool_by_samples,
    "fractional_max_pool2d_with_indices": lambda: F.fractional_max_pool2d_with_indices(a(2, 3, 6, 6), 2, 2),
    "fractional_max_pool3d": _pool_by_samples,
    "fractional_max_pool3d_with_indices": lambda: F.fractional_max_pool3d_with_indices(a(1, 2, 4, 4, 4), 2, 2),
    "gather_counted": lambda: ops.getitem(a(4, 3), jtorch.tensor([True, False, True, True])),
    "gather_index": (lambda: a(4, 3)[jtorch.tensor([0, 2, 0])], lambda: a(4, 3)[:, jtorch.tensor([1])]),
    "geometric": (lambda: ops.geometric(a(3, 4), 0.4), lambda: ops.geometric(a(3), 0.2)),
    "getitem": (lambda: ops.getitem(a(4, 3), 1), lambda: ops.getitem(a(4, 3), (slice(1, 3), 0))),
    "grouped_mm": lambda: F.grouped_mm(a(2, 3, 4), a(2, 4, 5)),
    "gru": lambda: _layer("gru", 3),
    "gru_cell": lambda: _cell("gru_cell", 3),
    "gumbel_softmax": (lambda: F.gumbel_softmax(a(3, 4)), lambda: F.gumbel_softmax(a(3, 4), hard=True, dim=0)),
    "hardtanh_": lambda: F.hardtanh_(a(3), -0.5, 0.5),
    "inverse": lambda: jtorch.inverse(positive(3)),
    "joined_heads": lambda: _multi_head(need_weights=False),
    "joined_masks": _FORWARD,
    "leaky_relu_": lambda: F.leaky_relu_(a(3), 0.2),
    "linalg_cholesky": lambda: ops.linalg_cholesky(positive(3, 2)),
    "linalg_cholesky_ex": "cholesky",
    "linalg_cond": (lambda: ops.linalg_cond(positive(3)), lambda: ops.linalg_cond(positive(3), "fro")),
    "linalg_cross": lambda: ops.linalg_cross(a(2, 3), a(2, 3)),
    "linalg_det": lambda: ops.linalg_det(a(2, 3, 3)),
    "linalg_diagonal": lambda: ops.linalg_diagonal(a(2, 3, 4), offset=1),
    "linalg_eig": lambda: ops.linalg_eig(a(3, 3)),
    "linalg_eigh": (lambda: ops.linalg_eigh(positive(3)), lambda: ops.linalg_eigh(positive(2), "U")),
    "linalg_eigvals": lambda: ops.linalg_eigvals(a(3, 3)),
    "linalg_eigvalsh": lambda: ops.linalg_eigvalsh(positive(3)),
    "linalg_householder_product": lambda: ops.linalg_householder_product(a(4, 3), a(3)),
    "linalg_inv": lambda: ops.linalg_inv(positive(3, 2)),
    "linalg_inv_ex": lambda: ops.linalg_inv_ex(positive(3, 2)),
    "linalg_lstsq": lambda: ops.linalg_lstsq(a(4, 2), a(4, 3)),
    "_constant": lambda: ops.linalg_lstsq(a(4, 3), a(4, 2), driver="gelsd"),
    "_lu_parts": lambda: ops.linalg_lu(a(3, 3)),
    "_permutation_matrix": lambda: ops.linalg_lu(a(3, 3)),
    "linalg_lu": lambda: ops.linalg_lu(a(3, 3)),
    "linalg_lu_factor": lambda: ops.linalg_lu_factor(a(3, 3)),
    "linalg_lu_factor_ex": lambda: ops.linalg_lu_factor_ex(a(3, 3)),
    "linalg_lu_solve": lambda: _lu_solve(3),
    "linalg_matrix_exp": lambda: ops.linalg_matrix_exp(a(3, 3)),
    "linalg_matrix_norm": (lambda: ops.linalg_matrix_norm(a(3, 4)), lambda: ops.linalg_matrix_norm(a(3, 4), 2)),
    "linalg_matrix_power": lambda: ops.linalg_matrix_power(positive(3), -2),
    "linalg_matrix_rank": lambda: ops.linalg_matrix_rank(a(3, 4)),
    "linalg_multi_dot": lambda: ops.linalg_multi_dot([a(2, 3), a(3, 4), a(4, 2)]),
    "linalg_norm": (lambda: ops.linalg_norm(a(3, 4)), lambda: ops.linalg_norm(a(3, 4), 1, dim=0)),
    "linalg_pinv": lambda: ops.linalg_pinv(a(4, 3)),
    "linalg_qr": (lambda: ops.linalg_qr(a(4, 3)), lambda: ops.linalg_qr(a(3, 3), "complete")),
    "linalg_slogdet": lambda: ops.linalg_slogdet(positive(3, 2)),
    "linalg_solve": lambda: ops.linalg_solve(positive(3), a(3, 2)),
    "linalg_solve_ex": lambda: ops.linalg_solve_ex(positive(3), a(3, 2)),
    "linalg_solve_triangular": lambda: ops.linalg_solve_triangular(positive(3), a(3, 2), upper=True),
    "linalg_svd": lambda: ops.linalg_svd(a(4, 3), full_matrices=False),
    "linalg_svdvals": lambda: ops.linalg_svdvals(a(4, 3)),
    "linalg_tensorinv": lambda: ops.linalg_tensorinv(positive(4).reshape(2, 2, 2, 2)),
    "linalg_tensorsolve": lambda: ops.linalg_tensorsolve(positive(4).reshape(2, 2, 4), a(2, 2)),
    "linalg_vander": (lambda: ops.linalg_vander(a(4)), lambda: ops.linalg_vander(a(2, 3), N=2)),
    "linalg_vecdot": lambda: ops.linalg_vecdot(a(2, 3), a(2, 3)),
    "linalg_vector_norm": (lambda: ops.linalg_vector_norm(a(3, 4)), lambda: ops.linalg_vector_norm(a(3, 4), 3, 1)),
    "log_normal": (lambda: ops.log_normal(a(3, 4)), lambda: ops.log_normal(a(3), 0.0, 0.5)),
    "lp_pool1d": lambda: F.lp_pool1d(a(2, 3, 6), 2.0, 2),
    "lp_pool2d": lambda: F.lp_pool2d(a(1, 2, 4, 4), 2.0, 2),
    "lp_pool3d": lambda: F.lp_pool3d(a(1, 2, 2, 4, 4), 2.0, 2),
    "lstm": lambda: _layer("lstm", 4),
    "lstm_cell": lambda: _cell("lstm_cell", 4),
    "lstsq_parts": lambda: ops.linalg_lstsq(a(4, 2), a(4, 3)),
    "lu_nothing": lambda: jtorch.lu_unpack(*ops.linalg_lu_factor(positive(3)), unpack_data=False, unpack_pivots=False),
    "lu_permutation": "lu_unpack",
    "lu_triangles": "lu_unpack",
    "mask_as_numbers": _multi_head,
    "matrix_power": (lambda: jtorch.matrix_power(positive(3), 3), lambda: jtorch.matrix_power(positive(3), -1)),
    "max_pool1d_with_indices": lambda: F.max_pool1d_with_indices(a(1, 2, 4), 2),
    "max_pool2d_with_indices": lambda: F.max_pool2d_with_indices(a(1, 2, 4, 4), 2),
    "max_pool3d_with_indices": lambda: F.max_pool3d_with_indices(a(1, 2, 2, 4, 4), 2),
    "median_along": (lambda: a(3, 4).median(1), lambda: a(3, 4).nanmedian(0)),
    "median_of_all": (lambda: a(3, 4).median(), lambda: a(3, 4).nanmedian()),
    "moments": "std_mean",
    "multi_head_attention_forward": _multi_head,
    "nonzero_vectors": lambda: jtorch.nonzero(a(3, 4) > 0, as_tuple=True),
    "norm_except_dim": lambda: jtorch.norm_except_dim(a(3, 4), 2, 1),
    "normal_like": lambda: a(3, 4).normal_(1.0, 2.0),
    "one_hot_of": lambda: F.one_hot(jtorch.tensor([0, 2, 1]), 4),
    "orgqr": lambda: jtorch.orgqr(a(4, 3), a(3)),
    "pad_sequence": lambda: nn.utils.rnn.pad_sequence([a(1, 3), a(3, 3)]),
    "padding_zeroed": lambda: ops.padding_zeroed(a(2, 3, 4), jtorch.tensor([[False, True, True]] * 2), False),
    "places_by": lambda: jtorch.repeat_interleave(jtorch.tensor([2, 0, 3])),
    "poisson": lambda: jtorch.poisson(a(3, 4).exp()),
    "power": "pow",
    "power_of": lambda: jtorch.matrix_power(positive(3), 3),
    "projected_heads": _FORWARD,
    "rand": (lambda: ops.rand(3, 4), lambda: ops.rand(2)),
    "rand_like": (lambda: ops.rand_like(a(3, 4)), lambda: ops.rand_like(a(3))),
    "random": (lambda: ops.random(a(3, 4)), lambda: ops.random(a(3), 2, 9)),
    "randperm": (lambda: ops.randperm(5), lambda: ops.randperm(3, dtype=jtorch.int32)),
    "relu_": lambda: F.relu_(a(3)),
    "repeat_by": lambda: jtorch.repeat_interleave(a(3, 2), jtorch.tensor([2, 0, 3]), 0),
    "repeat_each": lambda: jtorch.repeat_interleave(a(3, 2), 2, 1),
    "rnn_relu": lambda: _layer("rnn_relu"),
    "rnn_relu_cell": lambda: _cell("rnn_relu_cell", 1),
    "rnn_tanh": lambda: _layer("rnn_tanh"),
    "rnn_tanh_cell": lambda: _cell("rnn_tanh_cell", 1),
    "rrelu": lambda: F.rrelu(a(3, 4), training=True),
    "rrelu_": lambda: F.rrelu_(a(3)),
    "scaled_dot_product_attention": _attention,
    "selu_": lambda: F.selu_(a(3)),
    "setitem": (lambda: _set(1, a(3)), lambda: _set(jtorch.tensor([0, 2]), 2.0)),
    "short_power": lambda: a(3) ** 2,
    "slice_view": (
        lambda: ops.getitem(a(4, 3), 1),
        lambda: ops.getitem(a(4, 3), (slice(1, None), slice(None, None, 2))),
    ),
    "slogdet": lambda: jtorch.slogdet(positive(3, 2)),
    "sort_stably": (lambda: a(3, 4).sort(), lambda: a(3, 4).sort(0, descending=True)),
    "split_evenly": (lambda: a(5, 2).split(2), lambda: a(2, 4).split(3, 1)),
    "svd_values_only": lambda: jtorch.svd(a(4, 3), compute_uv=False),
    "swapaxes": lambda: jtorch.swapaxes(a(2, 3, 4), 0, 2),
    "swapdims": lambda: jtorch.swapdims(a(2, 3, 4), 0, 2),
    "take_rows": _packed,
    "tensordot_of": lambda: jtorch.tensordot(a(2, 3), a(3, 4), 1),
    "threshold_": lambda: F.threshold_(a(3), 0.1, 2.0),
    "unfold_dimension": (lambda: a(5, 2).unfold(0, 3, 1), lambda: a(5).unfold(0, 2, 2)),
    "uniform": (lambda: ops.uniform(a(3, 4)), lambda: ops.uniform(a(3), 1.0, 2.0)),
    "upsample": lambda: F.upsample(jtorch.rand(2, 3, 4), 6),
    "vander": (lambda: jtorch.vander(a(4)), lambda: jtorch.vander(a(3), 2, increasing=True)),
    "view_as": lambda: ops.view_as(a(3, 4), a(4, 3)),
    "view_dtype": lambda: a(3, 4).view(jtorch.int32),
    "weighted_values": _FORWARD,
    "bin_edges_of": lambda: jtorch.histogram(a(5), 3),
    "points_binned": "histogram",
    "slopes_along": "gradient",
    "view_as_complex_copy": lambda: jtorch.view_as_complex_copy(a(3, 2)),
    "view_as_real_copy": lambda: jtorch.view_as_real_copy(jtorch.complex(a(3), a(3))),
    "select_copy": lambda: jtorch.select_copy(a(3, 4), 1, 0),
    "ormqr": lambda: jtorch.ormqr(a(4, 3), a(3), a(4, 2)),
}
