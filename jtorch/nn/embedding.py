"""Tables of vectors that are looked up by number: one by one (Embedding) or in bags (EmbeddingBag)."""

from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn import init
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check


def _row(padding_idx: int | None, count: int, name: str) -> int | None:
    """The number of the padding vector, counted from the start."""
    if padding_idx is None:
        return None
    check(-count <= padding_idx < count, f"{name} must be within num_embeddings", AssertionError)
    return padding_idx % count


class _Table(Module):
    """What both share: the table `weight`, with a vector at `padding_idx` that starts as zero."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None

    def _fill_table(self, given: Tensor | None, learns: bool, device: Any, dtype: Any) -> None:
        shape = (self.num_embeddings, self.embedding_dim)
        if given is None:
            self.weight = Parameter(_creation.empty(shape, device=device, dtype=dtype), requires_grad=learns)
            self.reset_parameters()
        else:
            fits = tuple(given.shape) == shape
            check(fits, "Shape of weight does not match num_embeddings and embedding_dim", AssertionError)
            self.weight = Parameter(given, requires_grad=learns)

    def reset_parameters(self) -> None:
        """Draw the table from the standard normal distribution, the padding vector zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            table = self.weight.detach()
            table[self.padding_idx] = 0

    def _unusual(self, **usual: Any) -> str:
        """The settings that differ from the usual ones, as the repr shows them."""
        values = {name: getattr(self, name) for name in usual}
        return "".join(f", {n}={v!r}" for n, v in values.items() if v is not usual[n] and v != usual[n])


class Embedding(_Table):
    """A table of vectors, looked up by number.

    Shape: (*) integers -> (*, embedding_dim)
    Args:
        padding_idx: a number whose vector starts as zero and gets no gradient.
        max_norm: vectors that are looked up and longer than this are shortened to it, in the table.
        scale_grad_by_freq: divide each gradient by how often its number occurs.
        sparse: accepted; gradients are dense.
    Raises:
        IndexError: a number is not in the table (where its value is known).
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Tensor | None = None,
        _freeze: bool = False, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _row(padding_idx, num_embeddings, "Padding_idx")
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self._fill_table(_weight, not _freeze, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """The vectors with these numbers."""
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        """The sizes, and the settings that differ from the defaults."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += self._unusual(padding_idx=None, max_norm=None, norm_type=2, scale_grad_by_freq=False)
        return text + (", sparse=True" if self.sparse else "")

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> "Embedding":  # fmt: skip
        """An Embedding with a given table, which does not learn unless `freeze` is False."""
        check(embeddings.ndim == 2, "Embeddings parameter is expected to be 2-dimensional", AssertionError)
        rows, columns = embeddings.shape
        return cls(rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)


class EmbeddingBag(_Table):
    """The sum, mean or largest of the vectors with the numbers in each bag; zero for an empty bag.

    Shape: (B, N) or (N) with offsets (B) -> (B, embedding_dim)
    Args:
        max_norm: vectors that are looked up and longer than this are shortened to it, in the table.
        scale_grad_by_freq: divide each gradient by how often its number occurs.
        mode: `sum`, `mean` or `max`.
        sparse: accepted; gradients are dense.
        include_last_offset: whether the last of the offsets is the end of the last bag.
        padding_idx: a number that takes no part; its vector starts as zero.
    Raises:
        RuntimeError: a number is not in the table, or offsets do not fit (where their values are known).
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, _weight: Tensor | None = None,
        include_last_offset: bool = False, padding_idx: int | None = None, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.mode, self.sparse = scale_grad_by_freq, mode, sparse
        self.include_last_offset = include_last_offset
        self.padding_idx = _row(padding_idx, num_embeddings, "padding_idx")
        self._fill_table(_weight, True, device, dtype)

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """The bags."""
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The sizes, the settings that differ from the defaults, and the mode."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += self._unusual(max_norm=None, norm_type=2, scale_grad_by_freq=False)
        return f"{text}, mode={self.mode!r}" + self._unusual(padding_idx=None)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> "EmbeddingBag":  # fmt: skip
        """An EmbeddingBag with a given table, which does not learn unless `freeze` is False."""
        check(embeddings.ndim == 2, "Embeddings parameter is expected to be 2-dimensional", AssertionError)
        settings = (max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset, padding_idx)
        rows, columns = embeddings.shape
        made = cls(rows, columns, *settings)
        made.weight.requires_grad = not freeze
        return made
