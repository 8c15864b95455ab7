"""MultiheadAttention: projections, attention in several heads, and the projection of what they found."""

from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn import init
from jtorch.nn.dropout import Drawing
from jtorch.nn.linear import NonDynamicallyQuantizableLinear
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check


class MultiheadAttention(Drawing):
    """Values weighted by how their keys fit the queries, in several projections side by side, projected once more.

    Shape: (L, N, E), (S, N, K), (S, N, V) -> (L, N, E), (N, L, S); without N for one sequence alone
    Args:
        dropout: the probability of a weight to be dropped while training.
        add_bias_kv: learn one more key and value.
        add_zero_attn: attend to one more key and value of zeros.
        kdim, vdim: the sizes K and V, E where None.
        batch_first: (N, L, E) rather than (L, N, E).
    Raises:
        ValueError: embed_dim or num_heads is not positive.
        AssertionError: embed_dim cannot be divided into num_heads.
    Differs: torch's inference kernels give NaN where a query may attend to nothing, here it is 0 as in training (NaN
        with need_weights, as in torch).
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        positive = embed_dim > 0 and num_heads > 0
        told = f"got embed_dim={embed_dim} and num_heads={num_heads} instead"
        check(positive, f"embed_dim and num_heads must be greater than 0, {told}")
        check(embed_dim % num_heads == 0, "embed_dim must be divisible by num_heads", AssertionError)
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        made = {"device": device, "dtype": dtype}
        self._make_projections(bias, made)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **made)
        self.bias_k = self.bias_v = None
        if add_bias_kv:
            self.bias_k = Parameter(_creation.empty((1, 1, embed_dim), **made))
            self.bias_v = Parameter(_creation.empty((1, 1, embed_dim), **made))
        self._reset_parameters()

    def _make_projections(self, bias: bool, made: dict) -> None:
        size = self.embed_dim
        shapes = {"q_proj_weight": (size, size), "k_proj_weight": (size, self.kdim), "v_proj_weight": (size, self.vdim)}
        packed = {"in_proj_weight": (3 * size, size)}
        used, unused = (packed, shapes) if self._qkv_same_embed_dim else (shapes, packed)
        for name, shape in used.items():
            self.register_parameter(name, Parameter(_creation.empty(shape, **made)))
        for name in unused:
            self.register_parameter(name, None)
        self.register_parameter("in_proj_bias", Parameter(_creation.empty(3 * size, **made)) if bias else None)

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                init.xavier_normal_(row)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The output, and the weights or None; see `nn.functional.multi_head_attention_forward`."""
        turned = self.batch_first and query.ndim == 3
        if turned:
            query, key, value = _turned(query, key, value)
        drops = self.training and self.dropout > 0
        out, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            not self._qkv_same_embed_dim,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            dropout_key=self.key() if drops else None,
        )
        return (out.transpose(0, 1) if turned else out), weights

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """One mask for both, with the number that says which there were: 2 with attn_mask, 1 for padding alone.

        Shape: (L, L) or (N * heads, L, L), and (N, L) -> (N, heads, L, L), or (N, L) for padding alone
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, length = query.shape[:2]
        lead = (batch, -1) if attn_mask.ndim == 3 else (1, 1)
        merged = attn_mask.view(*lead, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            merged = merged + key_padding_mask.view(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
        return merged, 2


def _turned(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each with its first two dimensions exchanged; what is one and the same stays so."""
    first = query.transpose(0, 1)
    second = first if key is query else key.transpose(0, 1)
    third = second if value is key else value.transpose(0, 1)
    return first, second, third
