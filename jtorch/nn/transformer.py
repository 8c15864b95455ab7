"""Transformer and its parts: encoder and decoder, and the layers they are stacks of.

torch's inference kernels and nested tensors are not here: evaluation computes what training does, without dropout.
"""

import copy
from collections.abc import Callable
from typing import Any

from jtorch import _creation
from jtorch._capture import state
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn import init
from jtorch.nn.activation import GELU, ReLU
from jtorch.nn.container import ModuleList
from jtorch.nn.dropout import Dropout
from jtorch.nn.linear import Linear
from jtorch.nn.module import Module
from jtorch.nn.multihead import MultiheadAttention
from jtorch.nn.normalization import LayerNorm
from jtorch.ops._args import check
from jtorch.ops.diagonals import triu
from jtorch.ops.multihead import canonical_mask, padding_zeroed


def _clones(module: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


# layers


class _Layer(Module):
    """What the layers share: attentions by name, a feed-forward block, and a norm and a dropout for each of these."""

    attentions: tuple[str, ...]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        for name in self.attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **made))
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **made)
        self.norm_first = norm_first
        blocks = range(1, len(self.attentions) + 2)
        for i in blocks:
            setattr(self, f"norm{i}", LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made))
        for i in blocks:
            setattr(self, f"dropout{i}", Dropout(dropout))
        if isinstance(activation, str):
            known = activation in ("relu", "gelu")
            check(known, f"activation should be relu/gelu, not {activation}", RuntimeError)
            activation = F.relu if activation == "relu" else F.gelu
        self.activation: Callable[[Tensor], Tensor] = activation

    def _through(self, x: Tensor, *blocks: Callable[[Tensor], Tensor]) -> Tensor:
        """The input after each block, whose result is added to what it was given, with a norm before or after."""
        for i, block in enumerate(blocks, 1):
            norm = getattr(self, f"norm{i}")
            x = x + block(norm(x)) if self.norm_first else norm(x + block(x))
        return x

    def _sa_block(
        self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False
    ) -> Tensor:
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        return self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])

    def _ff_block(self, x: Tensor) -> Tensor:
        last = getattr(self, f"dropout{len(self.attentions) + 1}")
        return last(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoderLayer(_Layer):
    """The input after self-attention and a feed-forward block.

    Shape: (S, N, E) -> (S, N, E); (N, S, E) where batch_first; (S, E) for one sequence
    Args:
        activation: "relu", "gelu" or a function.
        norm_first: normalize what goes into a block rather than what comes out.
    Raises:
        RuntimeError: another name of an activation.
    Differs: a float mask is added to the scores in evaluation too, where torch's inference kernel takes every number but
        0 for True; and where a query may attend to nothing attention gives 0, where that kernel gives NaN.
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """

    attentions = ("self_attn",)

    @property
    def activation_relu_or_gelu(self) -> int:
        """1 for relu, 2 for gelu, 0 for other activations."""
        for number, function, kind in ((1, F.relu, ReLU), (2, F.gelu, GELU)):
            if self.activation is function or isinstance(self.activation, kind):
                return number
        return 0

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The layer's output. `is_causal` is a hint that `src_mask` is the causal one."""
        padding = canonical_mask(src_key_padding_mask, "src_key_padding_mask", src, src_mask, "src_mask")
        mask = canonical_mask(src_mask, "src_mask", src)
        return self._through(src, lambda x: self._sa_block(x, mask, padding, is_causal), self._ff_block)


class TransformerDecoderLayer(_Layer):
    """The target after self-attention, attention to the memory and a feed-forward block.

    Shape: (T, N, E), (S, N, E) -> (T, N, E); (N, T, E) where batch_first; (T, E) for one sequence
    Args:
        activation: "relu", "gelu" or a function.
        norm_first: normalize what goes into a block rather than what comes out.
    Raises:
        RuntimeError: another name of an activation.
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The layer's output. The flags are hints that a mask is the causal one."""
        return self._through(
            tgt,
            lambda x: self._sa_block(x, tgt_mask, tgt_key_padding_mask, tgt_is_causal),
            lambda x: self._mha_block(x, memory, memory_mask, memory_key_padding_mask, memory_is_causal),
            self._ff_block,
        )

    def _mha_block(
        self,
        x: Tensor,
        mem: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool = False,
    ) -> Tensor:
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        return self.dropout2(self.multihead_attn(x, mem, mem, need_weights=False, **masks)[0])


# stacks


class TransformerEncoder(Module):
    """The input after copies of a layer one after the other, and a norm if there is one.

    Shape: as the layer's
    Args:
        enable_nested_tensor: in evaluation without gradients, where torch would use nested tensors, padded places are 0
            before the norm, as they are there; otherwise they are computed like all others.
        mask_check: that only where the padding of every sequence is at its end.
    Differs: no warning where the layer is not of a kind for nested tensors. The causal mask is not looked for: its
        values decide.
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """

    def __init__(
        self,
        encoder_layer: TransformerEncoderLayer,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ):
        super().__init__()
        self.layers = _clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.use_nested_tensor = enable_nested_tensor and _is_for_nested_tensors(encoder_layer)
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The output of the last layer. `is_causal` is a hint that `mask` is the causal one."""
        padding = canonical_mask(src_key_padding_mask, "src_key_padding_mask", src, mask, "mask")
        mask = canonical_mask(mask, "mask", src)
        output = src
        for layer in self.layers:
            output = layer(output, src_mask=mask, is_causal=bool(is_causal), src_key_padding_mask=padding)
        if padding is not None and mask is None and self._zeroes(src):
            output = padding_zeroed(output, padding, not self.mask_check)
        return output if self.norm is None else self.norm(output)

    def _zeroes(self, src: Tensor) -> bool:
        """Whether torch would compute this with nested tensors."""
        first: Any = self.layers[0]
        if not self.use_nested_tensor or first.training or src.ndim != 3:
            return False
        return not (state.grad and any(x.requires_grad for x in (src, *first.parameters())))


def _is_for_nested_tensors(layer: Any) -> bool:
    if not isinstance(layer, TransformerEncoderLayer) or layer.norm_first or not layer.activation_relu_or_gelu:
        return False
    attention = layer.self_attn
    plain = attention.batch_first and attention._qkv_same_embed_dim and attention.in_proj_bias is not None
    return plain and layer.norm1.eps == layer.norm2.eps and attention.num_heads % 2 == 0


class TransformerDecoder(Module):
    """The target after copies of a layer one after the other, and a norm if there is one.

    Shape: as the layer's
    Differs: the causal mask is not looked for: its values decide.
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """

    def __init__(self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Module | None = None):
        super().__init__()
        self.layers = _clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The output of the last layer. The flags are hints that a mask is the causal one."""
        output = tgt
        for layer in self.layers:
            output = layer(
                output,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """The target decoded by what the encoder makes of the source.

    Shape: (S, N, E), (T, N, E) -> (T, N, E); batch first where so set; (S, E), (T, E) for one pair of sequences
    Args:
        activation: "relu", "gelu" or a function.
        custom_encoder, custom_decoder: modules in place of the stacks.
    Raises:
        RuntimeError: another name of an activation.
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        sizes = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias
        made = {"device": device, "dtype": dtype}

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made)

        if custom_encoder is None:
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*sizes, **made), num_encoder_layers, norm())
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*sizes, **made), num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self._reset_parameters()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.dim() > 1:
                init.xavier_uniform_(p)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoder's output. The flags are hints that a mask is the causal one.

        Raises:
            RuntimeError: the batches differ, or there are not `d_model` features.
        """
        batch = 0 if self.batch_first else 1
        same = src.ndim != 3 or src.size(batch) == tgt.size(batch)
        check(same, "the batch number of src and tgt must be equal", RuntimeError)
        fits = src.size(-1) == self.d_model == tgt.size(-1)
        check(fits, "the feature number of src and tgt must be equal to d_model", RuntimeError)
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask as numbers to add to scores: minus infinity above the diagonal, 0 elsewhere.

        Shape: (sz, sz)
        """
        return triu(_creation.full((sz, sz), float("-inf"), dtype=dtype, device=device), diagonal=1)
