"""The entries of torch's op database that jtorch does not have yet. `test_parity_ops.py` holds it to the truth."""

NOT_YET: set[str] = {
    "chalf",
    "linalg.ldl_factor", "linalg.ldl_factor_ex", "linalg.ldl_solve", "lu",
    "ormqr", "pca_lowrank", "polygamma.polygamma_n_0",
    "polygamma.polygamma_n_1", "polygamma.polygamma_n_2", "polygamma.polygamma_n_3", "polygamma.polygamma_n_4",
    "sparse.mm.reduce",
    "sparse.sampled_addmm", "special.airy_ai", "special.bessel_j0", "special.bessel_j1", "special.bessel_y0",
    "special.bessel_y1", "special.chebyshev_polynomial_t", "special.chebyshev_polynomial_u",
    "special.chebyshev_polynomial_v", "special.chebyshev_polynomial_w", "special.erfcx",
    "special.hermite_polynomial_h", "special.hermite_polynomial_he", "special.laguerre_polynomial_l",
    "special.legendre_polynomial_p", "special.modified_bessel_i0", "special.modified_bessel_i1",
    "special.modified_bessel_k0", "special.modified_bessel_k1", "special.polygamma.special_polygamma_n_0",
    "special.scaled_modified_bessel_k0", "special.scaled_modified_bessel_k1",
    "special.shifted_chebyshev_polynomial_t", "special.shifted_chebyshev_polynomial_u",
    "special.shifted_chebyshev_polynomial_v", "special.shifted_chebyshev_polynomial_w",
    "special.spherical_bessel_j0", "svd_lowrank",
    "to_sparse",
}  # fmt: skip

MODULES_NOT_YET: set[str] = set()
"""The same for the module database."""
