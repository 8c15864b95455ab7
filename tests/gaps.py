"""The ledger of gaps: where jtorch is known to differ from torch, each with its reason.

A key is the name of a test case, `<test without "test_">/<id of the case>`, and may hold `*`. Every case it matches must
fail (a strict xfail), and one that matches no case fails `test_structure.py`: so a line goes when its gap closes.
"""

import fnmatch
from collections.abc import Iterable

GAPS: dict[str, str] = {
    "repr_names_the_graph/exp": "the exponential differs in the last place, and the last digit shown with it",
    "device_that_is_not_there": "an AssertionError in a torch built without CUDA, a RuntimeError here as in one with it",
    "view_sees_later_writes/none": "strides are read off the places of elements, and one element has no neighbour: its stride is the row-major one",
    **dict.fromkeys(
        [
            "docs/init.trunc_normal_",
        ],
        "a draw: its arguments or its form are not torch's yet",
    ),
    **dict.fromkeys(
        [
            "module_error/HuberLoss-0",
            "module_error/LinearCrossEntropyLoss-1",
            "module_error/NLLLoss-0",
        ],
        "an argument of the wrong kind raises another exception than torch's, or is taken as a number",
    ),
    **dict.fromkeys(
        [
            "op/nn.functional.cosine_embedding_loss-int64-0",
            "op/nn.functional.pad.circular-float32-0",
            "op/nn.functional.pad.circular-float32-4",
            "op/nn.functional.pad.circular-int64-0",
            "op/nn.functional.pad.replicate_negative-float32-0",
            "op/nn.functional.pad.replicate_negative-float32-2",
            "op/nn.functional.pad.replicate_negative-int64-0",
            "op/nn.functional.triplet_margin_loss-int64-0",
        ],
        "differs from torch; open",
    ),
    **dict.fromkeys(
        [
            "module/BatchNorm3d-float32-eval-6",
            "module/InstanceNorm3d-float32-eval-5",
            "module/InstanceNorm3d-float32-train-5",
            "module/LayerNorm-float32-train-1",
            "op/nn.functional.conv2d-float32-14",
            "op/nn.functional.conv_transpose3d-float32-0",
            "op/nn.functional.conv_transpose3d-float32-9",
        ],
        "sums in another order than torch's: elements that nearly cancel differ; the errors against float64 are of the same size",
    ),
    **dict.fromkeys(
        ["docs/init.orthogonal_", "docs/nn.LayerNorm", "docs/nn.Module.to", "docs/nn.RMSNorm", "docs/nn.SyncBatchNorm"],
        "the example prints or uses something that jtorch does not have yet",
    ),
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
    **dict.fromkeys(
        ["form/erfinv-inplace-float32", "form/erfinv-method-float32", "op/erfinv-float32-0"],
        "near 1 a difference in the last place of the value changes the gradient by more than torch's tolerance",
    ),
    **dict.fromkeys(
        ["form/logcumsumexp-method-float32", "op/logcumsumexp-float32-0"],
        "torch's gradient of large elements is off by 3e-3 of float64's, the one here by 5e-7",
    ),
    **dict.fromkeys(
        ["form/matrix_exp-method-float32", "op/matrix_exp-float32-1"],
        "elements of 1e4 that differ by 1e-5 of themselves; those here are the nearer to float64's",
    ),
    **dict.fromkeys(
        ["form/svd-method-float32", "op/svd-float32-215"],
        "gradients through the vectors agree to 1e-13 in float64, to 5e-5 in float32; no float64 ones to judge by, since "
        "the signs of the vectors are others in float64",
    ),
    **dict.fromkeys(
        ["error/aminmax-3", "error/complex-2", "error/gather-1", "error/multinomial-2"],
        "out= of another dtype of the same kind takes the result converted, where torch asks for the very dtype",
    ),
    **dict.fromkeys(
        ["error/aminmax-1", "error/aminmax-2", "error/amax-1", "error/amax-2", "error/amin-1", "error/amin-2"],
        "tensors of more dimensions than a NumPy or JAX array can have",
    ),
    **dict.fromkeys(
        ["what_is_missing_is_listed"],
        "the list of entries to come is not drawn up yet",
    ),
    **dict.fromkeys(
        [
            "arrays_in_arrays_out_and_tensors_in_tensors_out/alpha_dropout",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/cauchy",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/dropout",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/exponential",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/feature_alpha_dropout",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/geometric",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/log_normal",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/rand_like",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/rrelu",
            "arrays_in_arrays_out_and_tensors_in_tensors_out/uniform",
        ],
        "a draw that no sample of torch's leads to with a key: to be reached by hand in reach.py",
    ),
    **dict.fromkeys(
        [
            "jit_and_vmap_give_the_same/cauchy",
            "jit_and_vmap_give_the_same/exponential",
            "jit_and_vmap_give_the_same/geometric",
            "jit_and_vmap_give_the_same/log_normal",
            "jit_and_vmap_give_the_same/rand_like",
            "jit_and_vmap_give_the_same/uniform",
        ],
        "a draw that no sample of torch's leads to with a key: to be reached by hand in reach.py",
    ),
    **dict.fromkeys(
        ["tape_is_jax_grad/complex", "tape_is_jax_grad/polar", "tape_is_jax_grad/view_as_complex"],
        "gradients of complex numbers follow torch's convention, the conjugate of jax.grad's",
    ),
    **dict.fromkeys(
        [
            "in_place_is_out_of_place/cauchy",
            "in_place_is_out_of_place/exponential",
            "in_place_is_out_of_place/geometric",
            "in_place_is_out_of_place/log_normal",
            "in_place_is_out_of_place/uniform",
        ],
        "a draw that no sample of torch's leads to with a key: to be reached by hand in reach.py",
    ),
    **dict.fromkeys(
        [
            "second_call_compiles_nothing/cauchy",
            "second_call_compiles_nothing/exponential",
            "second_call_compiles_nothing/geometric",
            "second_call_compiles_nothing/log_normal",
            "second_call_compiles_nothing/rand_like",
            "second_call_compiles_nothing/uniform",
        ],
        "a draw that no sample of torch's leads to with a key: to be reached by hand in reach.py",
    ),
}


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a key of the ledger means."""
    return [n for n in names if fnmatch.fnmatchcase(n, pattern.replace("[", "[[]"))]


def indices(prefix: str) -> set[int]:
    """The sample numbers that the ledger mentions after `prefix`, so that a bounded selection includes them."""
    tails = (key[len(prefix) :] for key in GAPS if key.startswith(prefix))
    return {int(tail) for tail in tails if tail.isdigit()}
