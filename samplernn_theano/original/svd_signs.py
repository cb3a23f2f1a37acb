"""The orthogonal factor of a square matrix, with the signs of the authors' LAPACK.

The original draws its orthogonal weights as the left singular vectors of a normal matrix, whose signs depend
on LAPACK. Since version 3.10 some differ from those of the authors' NumPy 1.11 with LAPACK 3.6, because the
plane rotation `dlartg` has another convention. Here the vectors are those of the installed LAPACK, and each
sign is computed by the steps of the driver `dgesdd` with the old `dlartg`. Functions name LAPACK's routines.

A sign can depend on rounding, so equality is measured, not proven: of the 150090 columns of 3360 normal
matrices of 1 to 1024 rows, one may differ; there NumPy 1.11.1 itself differs between processors.

[1] G. H. Golub, C. F. Van Loan, Matrix Computations, 4th edition, section 5.4.8.
[2] J. Demmel, W. Kahan, Accurate singular values of bidiagonal matrices, LAPACK Working Note 3, 1990.
[3] M. Gu, S. C. Eisenstat, A divide-and-conquer algorithm for the bidiagonal SVD, 1995.
"""

import math

import numpy as np
import scipy
import threadpoolctl
from numpy.typing import NDArray

Array = NDArray[np.float64]

EPS = 2.0**-53  # LAPACK's "epsilon": half of NumPy's
LEAF = 25  # the largest matrix that is not divided
BLOCK = 32  # columns per block of the bidiagonalisation; for speed only
TOLERANCE = EPS ** (7 / 8)  # of the QR iteration, relative


def orthogonal_factor(a: Array) -> Array:
    """`numpy.linalg.svd(a)[0]` of a normal draw `a` (n, n), with the signs of NumPy 1.11 with LAPACK 3.6."""
    with threadpoolctl.threadpool_limits(1, "blas"):  # with two, 20 times as slow on a busy machine
        u = np.linalg.svd(a, full_matrices=False)[0]
        d, e, reflectors, tau = bidiagonalise(a)
        u_b = signed_left_vectors(d, e)
        qt_u = scipy.linalg.lapack.dormqr("L", "T", reflectors, tau, u, lwork=max(1, 64 * len(d)))[0]
    return u * np.where(np.sum(qt_u * u_b, axis=0) < 0, -1.0, 1.0)


def signed_left_vectors(d: Array, e: Array) -> Array:
    """Left singular vectors of the upper bidiagonal (d, e), by decreasing singular value (`dbdsdc`)."""
    if len(d) == 1:
        return np.where(d < 0, -1.0, 1.0)[:, None]
    depth = 0 if len(d) <= LEAF else 1 + int(math.log(len(d) / (LEAF + 1)) / math.log(2))
    sigma, u, _ = divide(d, e, depth)
    return u[:, np.argsort(-sigma)]


def reflector(x: Array) -> tuple[Array, float, float]:
    """(v, tau, beta): (1 - tau v v^T) x = beta e_1, v[0] = 1, beta has the sign of -x[0] (`dlarfg`)."""
    v = x.copy()
    v[0] = 1.0
    if not np.any(x[1:]):
        return v, 0.0, float(x[0])
    beta = -math.copysign(float(np.linalg.norm(x)), x[0])
    v[1:] /= x[0] - beta
    return v, (beta - x[0]) / beta, beta


def bidiagonalise(a: Array) -> tuple[Array, Array, Array, Array]:
    """Reduce `a` (n, n) to upper bidiagonal form by reflections from both sides (`dgebrd`) [1].

    Within a block of columns the reduced matrix is a - v y^T - x w^T, v and w the left and right reflectors.
    Returns the diagonal, the superdiagonal, the left reflectors, one per column, and their factors (n,).
    """
    a = a.copy()
    n = len(a)
    d, e, tau = np.zeros(n), np.zeros(n - 1), np.zeros(n)
    reflectors = np.zeros((n, n), order="F")
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        v, y, x, w = (np.zeros((n, stop - start)) for _ in range(4))
        for j, i in enumerate(range(start, stop)):
            left, right = slice(i, n), slice(i + 1, n)
            q, tau[i], d[i] = reflector(a[left, i] - v[left] @ y[i] - x[left] @ w[i])
            v[left, j] = reflectors[left, i] = q
            if i == n - 1:
                break
            y[right, j] = a[left, right].T @ q - y[right] @ (v[left].T @ q) - w[right] @ (x[left].T @ q)
            y[right, j] *= tau[i]
            p, scale, e[i] = reflector(a[i, right] - y[right] @ v[i] - w[right] @ x[i])
            x[right, j] = a[right, right] @ p - v[right] @ (y[right].T @ p) - x[right] @ (w[right].T @ p)
            x[right, j] *= scale
            w[right, j] = p
        a[stop:, stop:] -= v[stop:] @ y[stop:].T + x[stop:] @ w[stop:].T
    return d, e, reflectors, tau


def divide(d: Array, e: Array, depth: int) -> tuple[Array, Array, Array]:
    """Singular values and vectors of a bidiagonal matrix, halved `depth` times (`dlasd0`).

    d (n,) is the diagonal, e (m - 1,) the superdiagonal; m is n or n + 1. Returns the singular values in no
    order, the left vectors (n, n), one per column, and the right vectors (m, m), one per row, the last of
    m = n + 1 spanning the null space.
    """
    if depth == 0:
        return leaf(d, e)
    k = len(d) // 2
    upper = divide(d[:k], e[:k], depth - 1)
    lower = divide(d[k + 1 :], e[k + 1 :], depth - 1)
    return merge(upper, lower, d[k], e[k])


def merge(
    upper: tuple[Array, Array, Array], lower: tuple[Array, Array, Array], alpha: float, beta: float
) -> tuple[Array, Array, Array]:
    """Join two halves by the row (alpha, beta) between them (`dlasd1`, `dlasd2`) [3].

    In the vectors of the halves the matrix is diagonal but for one row z. A vector whose entry of z is
    negligible is unchanged; the secular equation combines the others.
    """
    (d1, u1, vt1), (d2, u2, vt2) = upper, lower
    k, n, m = len(d1), len(d1) + 1 + len(d2), len(vt1) + len(vt2)
    u, vt = np.zeros((n, n)), np.zeros((m, m))
    # Vector 0 belongs to the joining row; its singular value is 0 until now.
    sigma = np.concatenate([[0.0], d1, d2])
    u[k, 0] = 1.0
    u[:k, 1 : k + 1] = u1
    u[k + 1 :, k + 1 :] = u2
    vt[0, : k + 1] = vt1[k]
    vt[1 : k + 1, : k + 1] = vt1[:k]
    vt[k + 1 :, k + 1 :] = vt2
    z = alpha * vt[:, k] + (beta * vt[:, k + 1] if m > k + 1 else 0.0)

    tolerance = 8 * EPS * max(abs(alpha), abs(beta), sigma.max())
    if m > n:  # two null vectors: rotate them so that z has an entry for the first only
        length = math.hypot(z[0], z[n])
        if length > tolerance:
            rotate(vt[0], vt[n], z[0] / length, z[n] / length)
        z[0] = length
    if abs(z[0]) <= tolerance:
        z[0] = tolerance
    mixed = [0]
    for j in 1 + np.argsort(sigma[1:]):
        if abs(z[j]) <= tolerance:
            continue
        i = mixed[-1]
        if i != 0 and sigma[j] - sigma[i] <= tolerance:
            # A double value: rotate the pair, leave one unchanged.
            length = math.hypot(z[i], z[j])
            c, s = z[j] / length, -z[i] / length
            rotate(u.T[i], u.T[j], c, s)
            rotate(vt[i], vt[j], c, s)
            z[i], z[j] = 0.0, length
            mixed.pop()
        mixed.append(int(j))

    poles = sigma[mixed]
    poles[1:2] = np.maximum(poles[1:2], tolerance / 2)
    sigma[mixed], left, right = secular(poles, z[mixed])
    u[:, mixed] = u[:, mixed] @ left
    vt[mixed] = right.T @ vt[mixed]
    return sigma, u, vt


def secular(poles: Array, z: Array) -> tuple[Array, Array, Array]:
    """Singular values and vectors of the matrix with first row z and diagonal `poles` (`dlasd3`) [3].

    poles (k,) rise from 0. Left and right vectors (k, k) are columns, the first entry of a left one negative.
    """
    k = len(z)
    roots, gaps = np.zeros(k), np.zeros((k, k))  # gaps[i, j] = poles[i]^2 - roots[j]^2, without cancellation
    norm = float(np.linalg.norm(z))
    for j in range(k):
        difference, roots[j], total, info = scipy.linalg.lapack.dlasd4(j, poles, z / norm, norm * norm)
        if info != 0:
            raise np.linalg.LinAlgError("the secular equation for the orthogonal factor has no solution")
        gaps[:, j] = difference * total
    # The z for which these roots are exact: its vectors are orthogonal to working precision.
    others = (poles[:, None] - poles) * (poles[:, None] + poles)
    others = others[~np.eye(k, dtype=bool)].reshape(k, k - 1)
    z = np.copysign(np.sqrt(np.abs(np.prod(gaps[:, :-1] / others, axis=1) * gaps[:, -1])), z)
    right = z[:, None] / gaps
    left = poles[:, None] * right
    left[0] = -1.0
    return roots, left / np.linalg.norm(left, axis=0), right / np.linalg.norm(right, axis=0)


def givens(f: float, g: float) -> tuple[float, float, float]:
    """(c, s, r) with c f + s g = r and c g = s f, in the convention before LAPACK 3.10 (`dlartg`)."""
    if g == 0:
        return 1.0, 0.0, f
    r = math.hypot(f, g) * (-1 if abs(f) > abs(g) and f < 0 else 1)
    return f / r, g / r, r


def rotate(x: Array, y: Array, c: float, s: float) -> None:
    """Rotate the pair of vectors x, y in place to c x + s y, c y - s x (`drot`)."""
    x[:], y[:] = c * x + s * y, c * y - s * x


def leaf(d: Array, e: Array) -> tuple[Array, Array, Array]:
    """`divide` for a matrix of at most 25 rows, by QR iteration (`dlasdq`)."""
    d, e = d.copy(), e.copy()
    n, m = len(d), len(e) + 1
    ut, vt = np.eye(n), np.eye(m)
    if m > n:  # from n x (n + 1) to lower bidiagonal n x n, then back to upper
        transpose(d, e, vt)
        e = e[:-1]
        transpose(d, e, ut)
    qr_iteration(d, e, ut, vt)
    vt[:n][d < 0] *= -1
    return np.abs(d), ut.T, vt


def transpose(d: Array, e: Array, rows: Array) -> None:
    """Turn upper bidiagonal into lower by rotations from the right, or lower into upper from the left."""
    for i in range(len(e)):
        c, s, d[i] = givens(d[i], e[i])
        e[i] = 0.0
        if i + 1 < len(d):
            e[i] = s * d[i + 1]
            d[i + 1] *= c
        rotate(rows[i], rows[i + 1], c, s)


def qr_iteration(d: Array, e: Array, ut: Array, vt: Array) -> None:
    """Make the upper bidiagonal matrix (d, e) diagonal, in place (`dbdsqr`) [2].

    d then holds the signed singular values. Rotations are applied to the rows of ut (left) and vt (right).
    """
    n = len(d)
    mu = smallest = abs(d[0])
    for i in range(1, n):
        mu = abs(d[i]) * (mu / (mu + abs(e[i - 1])))
        smallest = min(smallest, mu)
    threshold = TOLERANCE * smallest / math.sqrt(n)
    high, old_low, old_high, down = n - 1, -1, -1, True
    for _ in range(6 * n * n):
        low = high
        while low > 0 and abs(e[low - 1]) > threshold:
            low -= 1
        e[max(low - 1, 0) : low] = 0.0
        if low == high:
            high -= 1
        elif low == high - 1:
            two_by_two(d[low:], e[low:], ut[low:], vt[low:])
            high -= 2
        else:
            # From the larger end to the smaller; upwards is downwards in the flipped transpose.
            if low > old_high or high < old_low:
                down = bool(abs(d[low]) >= abs(d[high]))
            block, between = slice(low, high + 1), slice(low, high)
            if down:
                part = d[block], e[between], ut[block], vt[block]
            else:
                part = d[block][::-1], e[between][::-1], vt[block][::-1], ut[block][::-1]
            bound = lower_bound(part[0], part[1])
            if bound is not None:
                old_low, old_high = low, high
                sweep(*part, shift_of(part[0], part[1], bound, n))
                if abs(part[1][-1]) <= threshold:
                    part[1][-1] = 0.0
        if high <= 0:
            return
    raise np.linalg.LinAlgError("the QR iteration for the orthogonal factor does not converge")


def lower_bound(d: Array, e: Array) -> float | None:
    """A lower bound of the smallest singular value; None if an entry of e was negligible, now cleared."""
    if abs(e[-1]) <= TOLERANCE * abs(d[-1]):
        e[-1] = 0.0
        return None
    mu = bound = abs(d[0])
    for i in range(len(e)):
        if abs(e[i]) <= TOLERANCE * mu:
            e[i] = 0.0
            return None
        mu = abs(d[i + 1]) * (mu / (mu + abs(e[i])))
        bound = min(bound, mu)
    return float(bound)


def shift_of(d: Array, e: Array, bound: float, n: int) -> float:
    """The smaller singular value of the last 2 x 2 block, or 0 where a shift would cost accuracy."""
    largest = max(np.abs(d).max(), np.abs(e).max())
    if n * TOLERANCE * (bound / largest) <= max(EPS, 0.01 * TOLERANCE):
        return 0.0
    f, g, h = abs(d[-2]), e[-1], abs(d[-1])
    shift = 2 * f * h / (math.hypot(f + h, g) + math.hypot(f - h, g))  # `dlas2`
    return 0.0 if (shift / d[0]) ** 2 < EPS else shift


def sweep(d: Array, e: Array, ut: Array, vt: Array, shift: float) -> None:
    """One implicit QR step from the first row to the last, in place; with shift 0 that of [2]."""
    last = len(e)
    if shift == 0:
        c, c_left, s_left = 1.0, 1.0, 0.0
        for i in range(last):
            c, s, r = givens(d[i] * c, e[i])
            if i > 0:
                e[i - 1] = s_left * r
            c_left, s_left, d[i] = givens(c_left * r, d[i + 1] * s)
            rotate(vt[i], vt[i + 1], c, s)
            rotate(ut[i], ut[i + 1], c_left, s_left)
        d[last] *= c
        e[last - 1] = d[last] * s_left
        d[last] *= c_left
        return
    f, g = (abs(d[0]) - shift) * (math.copysign(1.0, d[0]) + shift / d[0]), e[0]
    for i in range(last):
        c, s, r = givens(f, g)
        if i > 0:
            e[i - 1] = r
        f, e[i] = c * d[i] + s * e[i], c * e[i] - s * d[i]
        g, d[i + 1] = s * d[i + 1], c * d[i + 1]
        rotate(vt[i], vt[i + 1], c, s)
        c, s, d[i] = givens(f, g)
        f, d[i + 1] = c * e[i] + s * d[i + 1], c * d[i + 1] - s * e[i]
        if i + 1 < last:
            g, e[i + 1] = s * e[i + 1], c * e[i + 1]
        rotate(ut[i], ut[i + 1], c, s)
    e[last - 1] = f


def two_by_two(d: Array, e: Array, ut: Array, vt: Array) -> None:
    """Make the leading 2 x 2 block diagonal, in place (`dlasv2`)."""
    f, g, h = d[0], e[0], d[1]
    turns = []
    for y, x in ((2 * g * h, (f - h) * (f + h) + g * g), (2 * f * g, (f - h) * (f + h) - g * g)):
        angle = math.atan2(y, x) / 2  # its cosine is not negative
        if abs(f) < abs(h) and angle < 0:
            angle += math.pi
        turns.append((math.cos(angle), math.sin(angle)))
    (c_left, s_left), (c, s) = turns
    rotate(ut[0], ut[1], c_left, s_left)
    rotate(vt[0], vt[1], c, s)
    d[0] = c_left * (c * f + s * g) + s_left * s * h
    d[1] = f * h / d[0]
    e[0] = 0.0
