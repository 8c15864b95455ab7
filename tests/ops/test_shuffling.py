"""Shuffles against torch: ranks, empty inputs and what is refused. Values come from torch's database."""

import parity
import pytest

CALLS = {
    "channels": ("pixel_shuffle", (1, 2, 4, 4), 2),
    "zero": ("pixel_shuffle", (1, 4, 4, 4), 0),
    "rank": ("pixel_shuffle", (4, 4), 1),
    "float": ("pixel_shuffle", (1, 4, 4, 4), 1.5),
    "no batch": ("pixel_shuffle", (8, 2, 3), 2),
    "deep batch": ("pixel_shuffle", (2, 3, 8, 2, 3), 2),
    "empty batch": ("pixel_shuffle", (0, 8, 2, 3), 2),
    "empty width": ("pixel_shuffle", (2, 8, 2, 0), 2),
    "height": ("pixel_unshuffle", (1, 2, 4, 6), 3),
    "un-zero": ("pixel_unshuffle", (1, 2, 4, 4), 0),
    "un-rank": ("pixel_unshuffle", (4, 4), 1),
    "groups": ("channel_shuffle", (1, 2, 4, 4), 3),
    "no groups": ("channel_shuffle", (1, 2, 4, 4), 0),
    "flat": ("channel_shuffle", (4, 4), 2),
    "long": ("channel_shuffle", (1, 4, 5), 2),
    "native": ("native_channel_shuffle", (1, 6, 2, 3, 2), 3),
}


@pytest.mark.parametrize("name, shape, by", CALLS.values(), ids=CALLS)
def test_shuffles(name, shape, by):
    def script(lib):
        size = 1
        for n in shape:
            size *= n
        return getattr(lib.nn.functional, name)(lib.arange(size).reshape(shape), by)

    parity.agree(script)


def test_texts_are_torchs():
    for case in ("channels", "zero", "rank", "height", "groups", "no groups"):
        name, shape, by = CALLS[case]
        parity.agree(lambda lib, n=name, s=shape, b=by: getattr(lib.nn.functional, n)(lib.ones(s), b), text=True)
