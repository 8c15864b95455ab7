"""The ledger of gaps: where jtorch is known to differ from torch, each with its reason.

A key is the name of a test case, `<test without "test_">/<id of the case>`, and may hold `*`. Every case it matches must
fail (a strict xfail), and one that matches no case fails `test_structure.py`: so a line goes when its gap closes.
"""

import fnmatch
from collections.abc import Iterable

import jax
import torch

GAPS: dict[str, str] = {
    "repr_names_the_graph/exp": "the exponential differs in the last place, and the last digit shown with it",
    "second_gradient/nn.functional.ctc_loss-float64-0": "torch has no second gradient of it; here it is there",
    "docs/nn.Module.to": "the graph names a linear layer addmm, also without bias; and torch built without CUDA asserts for a GPU",
    "view_sees_later_writes/none": "strides are read off the places of elements, and one element has no neighbour: its stride is the row-major one",
    "docs/torch.set_default_device": "no GPU: torch raises when one is used (built without CUDA an AssertionError), here at once",
    **dict.fromkeys(
        ["docs/torch.conj", "docs/torch.resolve_conj", "docs/torch.resolve_neg"],
        "JAX conjugates at once: there is no bit that puts it off, and nothing that tells of it",
    ),
    "second_gradient/linalg.norm.subgradients_at_zero-float64-21": "torch's second gradient of a norm at 0 is NaN, here it is 0",
    "second_gradient/linalg.eigvals-float64-4": "JAX has no second derivative of general eigenvalues: NotImplementedError",
    "docs/Tensor.view": "a view under another dtype is a copy",
    "docs/torch.from_dlpack": "JAX arrays are immutable: a write to one tensor is not seen by the other that shares its memory",
    "docs/torch.sparse_coo_tensor": "every tensor is dense",
    "docs/torch.sparse_csr_tensor": "every tensor is dense",
    "docs/Tensor.to_dense": "the example begins with a sparse tensor, and every tensor is dense",
    "script/views_made_inside_no_grad": "a view made under no_grad says that it requires no gradient; torch says that it does, "
    "like its base, and gives it none",
    "result_on_a_permuted_tensor/*": "results of ops are row-major; torch's keep the order of a permuted input, and "
    "reshape copies where here it gives a view",
    "docs/torch.narrow_copy": "JAX arrays are dense, so there is no to_sparse",
    **dict.fromkeys(
        ["docs/linalg.eigh", "docs/fft.hfft", "docs/fft.ihfft"],
        "zeros of the imaginary part are printed with the other sign",
    ),
    "docs/torch.qr": "the product is off by a rounding of float32 that allclose just does not allow",
    "docs/torch.set_default_dtype": "JAX has no complex32: complex numbers beside float16 are complex64",
    "docs/torch.sort": "the places of equal values are in order here, where torch leaves them open",
    **dict.fromkeys(
        ["form/acosh-inplace-float32", "form/asinh-inplace-float32", "form/atanh-inplace-float32"],
        "torch has no gradient for these in place; here they have one",
    ),
    "form/addbmm-inplace-float32": "torch gives a 0-d tensor the shape of the result; here it keeps its shape, or raises",
    **dict.fromkeys(
        [
            "form/as_strided_scatter-method-float32",
            "op/as_strided_scatter-float32-0",
            "op/as_strided_scatter-float32-3",
            "op/as_strided_scatter-float32-6",
            "second_gradient/as_strided_scatter-float64-4",
        ],
        "torch gives the input a gradient at the places written, which do not depend on it, and none elsewhere",
    ),
    "form/svd-method-float32": "gradients through the vectors agree to 1e-13 in float64, to 5e-5 in float32; no float64 ones "
    "to judge by, since the signs of the vectors are others in float64",
    **dict.fromkeys(
        ["error/gradient-3", "error/gradient-10", "error/gradient-17"],
        "a tensor of the meta device, which holds no numbers that could be given to JAX",
    ),
    **dict.fromkeys(
        ["error/aminmax-1", "error/aminmax-2", "error/amax-1", "error/amax-2", "error/amin-1", "error/amin-2"],
        "tensors of more dimensions than a NumPy or JAX array can have",
    ),
}

WITHOUT_X64: dict[str, str] = {
    **dict.fromkeys(
        [
            "error/aminmax-3",
            "error/complex-1",
            "error/complex-2",
            "error/gather-1",
            "error/scatter-0",
            "error/scatter_add-0",
        ],
        "the two dtypes that must not differ are one and the same without 64-bit types",
    ),
    **dict.fromkeys(
        [
            "arrays_in_arrays_out_and_tensors_in_tensors_out/hash_tensor",
            "op/hash_tensor-float32-*",
            "op/hash_tensor-int64-*",
        ],
        "the hash is of 64 bits, and is refused without them",
    ),
}
"""Where jtorch differs from torch only with JTORCH_X64=0, besides all of those above."""

WHOLE: dict[str, str] = {
    **dict.fromkeys(
        [
            f"op/nn.functional.interpolate.{mode}-{dtype}-ref{place}"
            for mode in ("bilinear", "bicubic")
            for dtype in ("float16", "bfloat16")
            for place in (24, 26)
        ],
        "torch has no antialiasing of 16-bit floats on a CPU, only on a GPU",
    ),
    **dict.fromkeys(
        [
            f"op/{name}-{dtype}-ref{place}"
            for name, places in {
                "nn.functional.silu.complex": (11, 25),
                "sigmoid": (11, 25),
                "reciprocal": (12, 26),
                "rsqrt": (12, 26),
            }.items()
            for dtype in ("complex64", "complex128")
            for place in places
        ],
        "torch's complex division gives NaN where it divides by an infinite number; here it is 0 as it should",
    ),
    **dict.fromkeys(
        [
            f"op/{name}-{dtype}-ref{place}"
            for name, places in {
                "add": (48, 98),
                "sub": (48, 98),
                "__radd__": (44, 90),
                "rsub": (46, 94),
                "__rsub__": (45, 92),
            }.items()
            for dtype in ("complex64", "complex128")
            for place in places
        ],
        "torch multiplies by alpha = 1 + 0i, which makes NaN of two infinite parts; here nothing is multiplied without alpha",
    ),
    **dict.fromkeys(
        [
            f"op/{name}-float64-{place}"
            for name, places in {
                "special.bessel_j0": "0 2 ref0 ref2 ref3 ref4 ref13 ref14 ref17 ref18 ref27 ref28 ref29 ref32 ref33 ref34 ref35 ref36 ref37 ref38",
                "special.bessel_j1": "0 2 ref0 ref2 ref3 ref4 ref13 ref14 ref17 ref18 ref27 ref28 ref29 ref32 ref34 ref35 ref36 ref38",
                "special.bessel_y0": "ref3 ref4 ref13 ref17 ref18 ref27 ref28 ref29",
                "special.bessel_y1": "0 ref0 ref3 ref4 ref13 ref14 ref17 ref18 ref27 ref28 ref29 ref32 ref33 ref34 ref35 ref38",
            }.items()
            for place in places.split()
        ],
        "torch's Bessel functions are off by up to 7e-7 beyond 5, also in float64; these agree with SciPy's to 1e-14",
    ),
    **dict.fromkeys(
        [f"op/special.airy_ai-float64-ref{place}" for place in (3, 4, 13, 17, 18, 27, 28, 29, 32, 35)],
        "torch's Airy function is off by up to 3e-6 near -2, also in float64; this one agrees with SciPy's to 2e-15",
    ),
    **dict.fromkeys(
        [
            f"op/special.airy_ai-{dtype}-ref{place}"
            for dtype, places in {"float64": (11, 25), **dict.fromkeys(("int64", "int32", "int16"), (11, 23))}.items()
            for place in places
        ],
        "waves whose phase the dtype does not hold: of -5e6 in float64, of -1e3 in the float32 that integers become",
    ),
    **dict.fromkeys(
        [
            f"op/{name}-{dtype}-{place}"
            for name in ("special.polygamma.special_polygamma_n_0", *(f"polygamma.polygamma_n_{n}" for n in range(5)))
            for dtype, places in {"int16": "0 5 ref0 ref5 ref19 ref24", "int8": "0 5 ref0 ref5 ref18 ref23"}.items()
            for place in places.split()
        ],
        "the trigamma function at its poles, which are infinite here: torch divides by a sine that rounding keeps from 0",
    ),
    **dict.fromkeys(
        ["op/complex-float16-*", "op/view_as_complex-float16-*", "op/where-float16-ref14", "op/where-float16-ref15"],
        "JAX has no complex32, which torch makes of two float16 numbers: an error here",
    ),
    **dict.fromkeys(
        ["op/as_strided_scatter-*float*", "op/as_strided_scatter-complex*", "apart/as_strided_scatter-float32-*"],
        "torch gives the input a gradient at the places written, which do not depend on it, and none elsewhere",
    ),
    **dict.fromkeys(
        [*(f"apart/as_strided-*-{n}" for n in (1, 2, 3, 4)), "apart/as_strided.partial_views-*"],
        "as_strided reads the memory between the elements of this argument, which holds other numbers in torch's",
    ),
    **dict.fromkeys(
        [
            f"op/{name}-{dtype}-ref{place}"
            for name in ("pow", "float_power", "__rpow__")
            for dtype, places in {"complex64": (45, 92), "complex128": (16, 45, 63, 92)}.items()
            for place in places
        ],
        "angles of 1e20 that float64 does not hold decide the quadrant, and infinite numbers to the power of NaN are 0 in torch",
    ),
    "op/__rpow__-bfloat16-5": "where a power is NaN torch has a number as its slope, made of roundings; here it is NaN",
    "op/__rpow__-float16-5": "a slope of 58,176 is infinite in torch, whose steps of 16 bits overflow on the way",
    **dict.fromkeys(
        [f"op/{name}-complex64-{place}" for name in ("svd", "linalg.svd") for place in (66, 208)],
        "gradients through the vectors agree to 1e-13 in complex128, to 5e-5 in complex64; nothing wider to judge by, since "
        "the phases of the vectors are others there",
    ),
    "op/histc-float16-60": "-3.9004 is in the bin that ends at -3.9; torch rounds its distance from -10 to 16 bits, to the next bin",
    **dict.fromkeys(
        [f"op/special.zeta-{dtype}-ref{place}" for dtype in ("float32", "float64") for place in (16, 63)],
        "for exponents of 5e6 and 1e20 torch has NaN where sums vanish here, and other infinities for negative numbers",
    ),
    **dict.fromkeys(
        [
            f"op/special.laguerre_polynomial_l-{dtype}-ref{place}"
            for dtype, places in {
                **dict.fromkeys(("int64", "int32", "int16"), (15, 60)),
                **dict.fromkeys(("int8", "uint8"), (15, 59)),
            }.items()
            for place in places
        ],
        "recurrences of 127 steps in float32, off from one another by 1.4e-6",
    ),
    "op/cov-complex64-24": "the slope of two weights is 0: rounded terms of size 100 leave 6e-5 in torch, 1e-4 here",
    "op/cov-complex128-37": "a division by 0 of numbers that only rounding keeps from 0",
    "apart/view_as_complex-float32-0": "torch refuses the strides of this argument, which as a copy here has none such",
}
"""Differences in cases that only a full run has."""

WITHOUT_CUDA: dict[str, str] = {
    "device_that_is_not_there": "an AssertionError in a torch built without CUDA, a RuntimeError here as in one with it",
    **dict.fromkeys(
        ["docs/Tensor.to", "docs/torch.tensor", "docs/torch.use_deterministic_algorithms"],
        "no GPU: a build of torch without CUDA raises AssertionError, one with CUDA what is raised here",
    ),
}
"""Where torch differs that is built without CUDA."""

WITH_CUDA: dict[str, str] = {
    **dict.fromkeys(
        ["script/asked_of_gpus", "script/asked_of_others"],
        "a build of torch with CUDA tells of what it is made for, also where there is no GPU",
    ),
    **dict.fromkeys(
        ["script/not_there2", "script/not_there4", "docs/torch.Event"],
        "no GPU: a build of torch with CUDA does nothing where one without it raises, as is done here",
    ),
}
"""Where torch differs that is built with CUDA, on a machine without a GPU."""

BEFORE_JAX_12: dict[str, str] = dict.fromkeys(
    ["docs/fft.hfft2", "docs/fft.hfftn"],
    "a round trip is off by a rounding of float32 of a number near 0, which allclose just does not allow",
)
"""Where JAX differs before 0.12."""

UNOPTIMISED: dict[str, str] = {
    **dict.fromkeys(
        [
            "module/InstanceNorm3d-float32-eval-5",
            "module/InstanceNorm3d-float32-train-5",
        ],
        "programs that XLA does not optimise sum one by one, and lose more to rounding than torch does",
    ),
}
"""Where only the programs of these tests differ, which are not optimised; `test_optimised.py` runs them as users do."""


def ledger(x64: bool, optimised: bool, full: bool) -> dict[str, str]:
    """All that holds of these programs, of this torch and this JAX."""
    lines = GAPS | (BEFORE_JAX_12 if jax.__version_info__ < (0, 12) else {}) | ({} if x64 else WITHOUT_X64)
    if not torch.cuda.is_available():
        lines |= WITHOUT_CUDA if torch.version.cuda is None else WITH_CUDA
    return lines | ({} if optimised else UNOPTIMISED) | (WHOLE if full else {})


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a key of the ledger means."""
    return [n for n in names if fnmatch.fnmatchcase(n, pattern.replace("[", "[[]"))]


def indices(prefix: str) -> set[int]:
    """The sample numbers that the ledger mentions after `prefix`, so that a bounded selection includes them."""
    tails = (key[len(prefix) :] for key in GAPS if key.startswith(prefix))
    return {int(tail) for tail in tails if tail.isdigit()}
