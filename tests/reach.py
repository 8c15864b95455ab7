"""How to reach the ops that no entry of torch's database is named after: the label of an entry, or a call."""

import jtorch
import jtorch.nn.functional as F

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


REACHED_BY: dict = {
    "attention_of": _attention,
    "attention_weights": _FORWARD,
    "joined_heads": lambda: _multi_head(need_weights=False),
    "joined_masks": _FORWARD,
    "mask_as_numbers": _multi_head,
    "multi_head_attention_forward": _multi_head,
    "projected_heads": _FORWARD,
    "scaled_dot_product_attention": _attention,
    "weighted_values": _FORWARD,
}
