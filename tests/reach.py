"""How to reach the ops that no entry of torch's database is named after: the label of an entry, or a call."""

import jtorch
from jtorch.nn import functional as F


def _pool_by_samples():
    F.fractional_max_pool2d(jtorch.rand(2, 3, 6, 6), 2, 3, _random_samples=jtorch.rand(2, 3, 2))
    F.fractional_max_pool3d(jtorch.rand(2, 3, 6, 6, 6), 2, 3, _random_samples=jtorch.rand(2, 3, 3))


def _affine_grid():
    F.affine_grid(jtorch.rand(2, 2, 3), (2, 1, 3, 4), align_corners=False)


REACHED_BY: dict = {
    "_affine_grid": _affine_grid,
    "_fractional_max_pool": _pool_by_samples,
    "_grid_sample": "nn.functional.grid_sample",
    "affine_grid": _affine_grid,
    "fractional_max_pool2d": _pool_by_samples,
    "fractional_max_pool3d": _pool_by_samples,
    "upsample": lambda: F.upsample(jtorch.rand(2, 3, 4), 6),
}
