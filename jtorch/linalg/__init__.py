"""The index of torch.linalg.

In compiled code a matrix that does not fit gives NaN or infinity, where a call outside raises LinAlgError.
"""

from jtorch.ops._matrices import LinAlgError as LinAlgError
from jtorch.ops.diagonals import linalg_diagonal as diagonal
from jtorch.ops.factors import linalg_cholesky as cholesky
from jtorch.ops.factors import linalg_cholesky_ex as cholesky_ex
from jtorch.ops.factors import linalg_lu as lu
from jtorch.ops.factors import linalg_lu_factor as lu_factor
from jtorch.ops.factors import linalg_lu_factor_ex as lu_factor_ex
from jtorch.ops.factors import linalg_lu_solve as lu_solve
from jtorch.ops.factors import linalg_solve_triangular as solve_triangular
from jtorch.ops.indefinite import linalg_ldl_factor as ldl_factor
from jtorch.ops.indefinite import linalg_ldl_factor_ex as ldl_factor_ex
from jtorch.ops.indefinite import linalg_ldl_solve as ldl_solve
from jtorch.ops.least_squares import linalg_lstsq as lstsq
from jtorch.ops.least_squares import linalg_matrix_rank as matrix_rank
from jtorch.ops.least_squares import linalg_pinv as pinv
from jtorch.ops.linalg import linalg_det as det
from jtorch.ops.linalg import linalg_inv as inv
from jtorch.ops.linalg import linalg_inv_ex as inv_ex
from jtorch.ops.linalg import linalg_slogdet as slogdet
from jtorch.ops.linalg import linalg_solve as solve
from jtorch.ops.linalg import linalg_solve_ex as solve_ex
from jtorch.ops.norms import linalg_matrix_norm as matrix_norm
from jtorch.ops.norms import linalg_norm as norm
from jtorch.ops.norms import linalg_vector_norm as vector_norm
from jtorch.ops.orthogonal import linalg_householder_product as householder_product
from jtorch.ops.orthogonal import linalg_qr as qr
from jtorch.ops.products import linalg_cross as cross
from jtorch.ops.products import linalg_multi_dot as multi_dot
from jtorch.ops.products import linalg_vecdot as vecdot
from jtorch.ops.products import matmul as matmul
from jtorch.ops.spectra import linalg_cond as cond
from jtorch.ops.spectra import linalg_eig as eig
from jtorch.ops.spectra import linalg_eigh as eigh
from jtorch.ops.spectra import linalg_eigvals as eigvals
from jtorch.ops.spectra import linalg_eigvalsh as eigvalsh
from jtorch.ops.spectra import linalg_matrix_exp as matrix_exp
from jtorch.ops.spectra import linalg_matrix_power as matrix_power
from jtorch.ops.spectra import linalg_svd as svd
from jtorch.ops.spectra import linalg_svdvals as svdvals
from jtorch.ops.spectra import linalg_tensorinv as tensorinv
from jtorch.ops.spectra import linalg_tensorsolve as tensorsolve
from jtorch.ops.spectra import linalg_vander as vander
