"""The random numbers that PyTorch draws on a CPU: a Mersenne Twister, and the uniform and normal numbers made from it.

Uniform numbers, integers and what is made from them are torch's bit for bit. Normal numbers too, where torch was built
for x86: it fills arrays of sixteen and more by a Box-Muller transformation in float32 with polynomials of its own, which
are repeated here operation by operation. In double precision NumPy's functions may differ from torch's in the last digit.
Everything is arrays of NumPy; what the ops make of them is in `_draws`.

Source: Matsumoto & Nishimura, ACM TOMACS 8 (1998); the polynomials are those of Moshier's Cephes library.
"""

import math
import struct

import numpy as np

_WORDS = 624
_LAYOUT = struct.Struct(f"<Qii Q {8 * _WORDS}s 8s dd i 4x f ? 3x")
"""torch's: seed, words left, 1, next word, words; 8 bytes that it does not read, the spare normal number, 0, whether there
is one; and two that it does not use on a CPU."""
STATE_BYTES = _LAYOUT.size


class Twister:
    """A stream of 32-bit numbers from a seed, with the one normal number that is left over from a pair."""

    def __init__(self, seed: int):
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start the sequence of a seed, of which the lower 32 bits count."""
        self._bits = np.random.MT19937()
        self._bits._legacy_seeding(seed & 0xFFFFFFFF)  # type: ignore[attr-defined]
        self._fresh = True
        self.spare: float | None = None

    def words(self, count: int) -> np.ndarray:
        """The next 32-bit numbers, as uint64."""
        self._fresh = self._fresh and not count
        return self._bits.random_raw(count) if count else np.zeros(0, np.uint64)

    def longs(self, count: int) -> np.ndarray:
        """64-bit numbers, each from two words."""
        high, low = self.words(2 * count).reshape(-1, 2).T
        return high << np.uint64(32) | low

    def floats(self, count: int) -> np.ndarray:
        """Numbers from 0 to 1 of 24 bits, as float32."""
        return (self.words(count) & np.uint64(2**24 - 1)).astype(np.float32) * np.float32(2**-24)

    def doubles(self, count: int) -> np.ndarray:
        """Numbers from 0 to 1 of 53 bits."""
        return (self.longs(count) & np.uint64(2**53 - 1)) * 2.0**-53

    def normals(self, count: int) -> np.ndarray:
        """Normal numbers one after the other in double precision: pairs, of which a spare one may be kept."""
        before = [] if self.spare is None or not count else [self.spare]
        pairs = (count - len(before) + 1) // 2
        u = self.doubles(2 * pairs).reshape(-1, 2)
        radius, angle = np.sqrt(-2 * np.log1p(-u[:, 1])), 2 * np.pi * u[:, 0]
        made = np.concatenate([before, np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)])
        if count:
            self.spare = float(made[count]) if len(made) > count else None
        return made[:count]

    def normal_block(self, count: int, mean: float, std: float, dtype: np.dtype) -> np.ndarray:
        """At least sixteen normal numbers. The last sixteen are drawn anew where the count is no multiple of it."""
        draw, fill = (self.doubles, _wide_pairs) if dtype == np.float64 else (self.floats, _narrow_pairs)
        whole = count - count % 16
        made = draw(whole if dtype.itemsize == 2 else count)  # torch draws the rest too, except for 16-bit numbers
        made = np.resize(made, count)
        made[:whole] = fill(made[:whole], mean, std)
        if whole < count:
            made[-16:] = fill(draw(16), mean, std)
        return made

    # the state, as torch has it

    def state(self, seed: int, key: bytes) -> bytes:
        """All of it in the layout of torch's generator; `key` are 8 bytes that torch keeps and does not read."""
        inner = self._bits.state["state"]
        position = int(inner["pos"])
        words = np.asarray(inner["key"], np.uint64).tobytes()
        spare = 0.0 if self.spare is None else self.spare
        following = 0 if self._fresh else position
        left = 1 if self._fresh else _WORDS + 1 - position
        valid = int(self.spare is not None)
        return _LAYOUT.pack(seed, left, 1, following, words, key, spare, 0.0, valid, 0.0, False)

    def set_state(self, state: bytes) -> tuple[int, bytes]:
        """Go on from a state. Returns its seed and the 8 bytes."""
        seed, left, seeded, following, words, kept, spare, _, valid, _, _ = _LAYOUT.unpack(state)
        numbers = np.frombuffer(words, np.uint64)
        sound = seeded == 1 and 0 <= following <= _WORDS and 1 <= left <= _WORDS and numbers.max() < 2**32
        if not sound:
            raise RuntimeError("set_state(): expected a state that get_state() gave, got other bytes")
        self._fresh = left == 1 and following == 0
        position = _WORDS if left == 1 else following
        inner = {"key": numbers.astype(np.uint32), "pos": position}
        self._bits.state = {"bit_generator": "MT19937", "state": inner}
        self.spare = spare if valid else None
        return seed, kept


# Box-Muller by eights


def _wide_pairs(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Uniform numbers as normal ones, in double precision."""
    one, two = np.moveaxis(u.reshape(-1, 2, 8), 1, 0)
    radius, angle = np.sqrt(-2 * np.log(1 - one)), 2 * np.pi * two
    made = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
    return fused(made, np.float64(std), np.float64(mean))


_PART = 2**15


def _narrow_pairs(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Uniform numbers as normal ones, in float32: a part at a time, which stays in the processor's cache."""
    return np.concatenate([_narrow_part(u[at : at + _PART], mean, std) for at in range(0, len(u), _PART)])


def _narrow_part(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    one, two = np.moveaxis(u.reshape(-1, 2, 8), 1, 0)
    radius = np.sqrt(np.float32(-2) * _log(np.float32(1) - one))
    sine, cosine = _sine_and_cosine(np.float32(2 * math.pi) * two)
    made = np.stack([radius * cosine, radius * sine], 1).reshape(-1)
    return fused(made, np.float32(std), np.float32(mean))


def fused(a: np.ndarray, b: np.ndarray | np.number, c: np.ndarray | np.number) -> np.ndarray:
    """`a * b + c` rounded once, as the processor's fused instruction does."""
    if a.dtype == np.float32:  # the product is exact in double precision
        wide = a.astype(np.float64)
        wide *= b
        wide += c
        return wide.astype(np.float32)
    product = a * b
    error = _product_error(a, b, product)
    total = product + c
    part = total - product
    return total + ((product - (total - part)) + (c - part) + error)


def _product_error(a: np.ndarray, b: np.ndarray | np.number, product: np.ndarray) -> np.ndarray:
    """What rounding took from a product. Source: Dekker, Numerische Mathematik 18 (1971)."""
    (high_a, low_a), (high_b, low_b) = (_halves(np.asarray(x, np.float64)) for x in (a, b))
    return ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaled = x * 134217729.0  # 2**27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def _polynomial(x: np.ndarray, *coefficients: float) -> np.ndarray:
    """The polynomial with the highest power first."""
    y, wide = np.full_like(x, coefficients[0]), x.astype(np.float64)
    for c in coefficients[1:]:
        y = fused(y, wide, np.float32(c))
    return y


def _log(x: np.ndarray) -> np.ndarray:
    """The logarithm of positive float32 numbers."""
    bits = x.view(np.int32)
    exponent = ((bits >> 23) - 126).astype(np.float32)
    x = ((bits & ~0x7F800000) | 0x3F000000).view(np.float32)  # from 0.5 to 1
    small = (x < np.float32(math.sqrt(0.5))).astype(np.float32)
    x = x - np.float32(1) + x * small  # no `where`, here and below: with a random mask it takes as long as ten steps
    exponent = exponent - small
    square = x * x
    y = _polynomial(
        x, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )  # fmt: skip
    y = fused(y * x, square, exponent * np.float32(-2.12194440e-4))
    y = fused(square, np.float32(-0.5), y)
    return fused(exponent, np.float32(0.693359375), x + y)


def _sine_and_cosine(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 numbers from 0 to 2 pi."""
    octant = ((x * np.float32(4 / math.pi)).astype(np.int32) + 1) & ~1
    turns = octant.astype(np.float32)
    for part in (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8):  # pi / 4 in three parts
        x = fused(turns, np.float32(part), x)
    square = x * x
    c = _polynomial(square, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2) * square
    c = fused(c, square, -(square * np.float32(0.5))) + np.float32(1)
    s = fused(_polynomial(square, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1) * square, x, x)
    s, c = s.view(np.int32), c.view(np.int32)  # exchanged in every second quarter, and their signs, by bits
    swap = (s ^ c) & -((octant >> 1) & 1)
    sine, cosine = s ^ swap ^ ((octant & 4) << 29), c ^ swap ^ ((~(octant - 2) & 4) << 29)
    return sine.view(np.float32), cosine.view(np.float32)
