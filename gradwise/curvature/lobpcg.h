#pragma once

#include "gradwise/curvature/eigenpairs.h"

namespace gradwise {

/// What eigenpairs() does by the method "lobpcg", once it has checked what is common to all methods: the locally
/// optimal block preconditioned conjugate gradients of Knyazev ("Toward the Optimal Preconditioned Eigensolver", 2001).
/// Each step takes the best vectors X of the space of X, of the preconditioned residuals W and of the last steps P.
/// That space has an orthonormal basis: P is made from coefficients that are orthogonal to those of X (Hetmaniuk and
/// Lehoucq, "Basis Selection in LOBPCG", 2006, section 4; Duersch, Shao, Yang and Gu, "A Robust and Efficient
/// Implementation of LOBPCG", 2018, algorithm 5), and W is orthogonalised against both by blocks (Stathopoulos and Wu,
/// "A Block Orthogonalization Procedure with Constant Synchronization Requirements", 2002).
///
/// X holds some vectors beside those asked for, whose residuals are not followed: they cost a product each at the start
/// and serve as a buffer. Pairs that have converged stay in X and get better with it, but are multiplied no more (soft
/// locking). The products of a step go through apply_columns together. Memory is that of twelve to eighteen vectors for
/// each of X.
[[nodiscard]] Eigenpairs lobpcg(const LinearOperator& matrix, const EigenOptions& options);

}  // namespace gradwise
