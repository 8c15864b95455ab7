"""What the views give, as copies: `transpose_copy` is `transpose` with memory of its own, and so on.

Each is derived from the op of the view; `narrow_copy`, whose errors are others, is in `parts`.
"""

import functools
from typing import Any

from jtorch.ops._op import Op, derived, op
from jtorch.ops.complex_numbers import view_as_complex, view_as_real
from jtorch.ops.diagonals import diagonal
from jtorch.ops.joining import split_with_sizes, unbind
from jtorch.ops.parts import as_strided, select, unfold_dimension
from jtorch.ops.shape import clone, contiguous, expand, permute, squeeze, t, transpose, unsqueeze, view


def _copy_of(view: Any, name: str) -> Op:
    """The op `<name>_copy`: what a view gives, not as a view."""

    @functools.wraps(view.body)
    def body(*args: Any, **kwargs: Any) -> Any:
        return view.body(*args, **kwargs)

    body.__name__ = body.__qualname__ = name + "_copy"
    body.__doc__ = (view.__doc__ or "").replace(
        "\n\n", "\n\n    The result is a copy, where `" + name + "` gives a view.\n\n", 1
    )
    return op(method=False, validate=view.validate)(body)


alias_copy = _copy_of(contiguous, "alias")
as_strided_copy = _copy_of(as_strided, "as_strided")
diagonal_copy = _copy_of(diagonal, "diagonal")
expand_copy = _copy_of(expand, "expand")
permute_copy = _copy_of(permute, "permute")
select_copy = _copy_of(select, "select")
split_with_sizes_copy = _copy_of(split_with_sizes, "split_with_sizes")
squeeze_copy = _copy_of(squeeze, "squeeze")
t_copy = _copy_of(t, "t")
transpose_copy = _copy_of(transpose, "transpose")
unbind_copy = _copy_of(unbind, "unbind")
unfold_copy = _copy_of(unfold_dimension, "unfold")
unsqueeze_copy = _copy_of(unsqueeze, "unsqueeze")
view_as_complex_copy = _copy_of(view_as_complex, "view_as_complex")
view_as_real_copy = _copy_of(view_as_real, "view_as_real")


@derived(method=False)
def view_copy(input: Any, size: Any = None, *, dtype: Any = None) -> Any:
    """A copy of the elements under a new shape, or of their bytes under another dtype.

    Shape: (*) -> size
    Raises: RuntimeError where the elements do not fit.
    """
    return clone(view(input, size=size, dtype=dtype))
