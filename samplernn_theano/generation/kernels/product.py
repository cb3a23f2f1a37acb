"""Product of a few vectors and a matrix, accumulated: y += x W.

A BLAS product repacks both matrices first, which takes longer than the product itself. Here the matrix is
packed once: into panels of 16 columns, each contiguous row by row. A tile of up to 6 vectors times up to 4
panels keeps its sums in registers while it reads a panel from top to bottom. Each sum is formed in the order
of the rows, whatever the tile: the result for a sequence does not depend on the number of sequences.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from samplernn_theano.generation.kernels.elementwise import inner

LANES = 16  # columns of a panel
PREFETCH = 2048  # numbers of a panel that are prefetched, with enough vectors to be worth it


def pack(W: NDArray) -> NDArray[np.float32]:
    """W (n_in, n_out) as panels (n_out / 16, n_in, 16); the last one is padded with zeros."""
    n_in, n_out = W.shape
    panels = -(-n_out // LANES)
    wide = np.zeros((n_in, panels * LANES), np.float32)
    wide[:, :n_out] = W
    return np.ascontiguousarray(wide.reshape(n_in, panels, LANES).transpose(1, 0, 2))


@inner
def accumulate(x, W, y, column):
    """y[:, column : column + n_out] += x[:, :n_in] W, for a packed W (panels, n_in, 16).

    x and y are float32 matrices of the same number of rows; y must be wide enough for whole panels.
    """
    n, panels = x.shape[0], W.shape[0]
    if n == 1:
        for p in range(0, panels - 3, 4):
            _tile_1x4(x, 0, W, p, y, column)
        for p in range(panels - panels % 4, panels):
            _tile_1x1(x, 0, W, p, y, column)
    elif n == 2:
        for p in range(0, panels - 1, 2):
            _tile_2x2(x, 0, W, p, y, column)
        if panels % 2:
            _tile_2x1(x, 0, W, panels - 1, y, column)
    else:
        for p in range(panels):
            row = 0
            while row < n:  # 3 to 6 rows at a time
                left = n - row
                rows = left if left <= 6 else 6 if left >= 12 else (left + 1) // 2
                if rows == 6:
                    _tile_6x1(x, row, W, p, y, column)
                elif rows == 5:
                    _tile_5x1(x, row, W, p, y, column)
                elif rows == 4:
                    _tile_4x1(x, row, W, p, y, column)
                else:
                    _tile_3x1(x, row, W, p, y, column)
                row += rows


def _tile(rows: int, panels: int):
    """y[row + i, column + 16 (p + q) + lane] += sum over k of x[row + i, k] W[p + q, k, lane], in LLVM IR."""

    @intrinsic
    def tile(typing_context, x, row, W, p, y, column):
        def generate(context, builder, signature, arguments):
            return _write_tile(context, builder, signature, arguments, rows, panels)

        return types.void(x, types.int64, W, types.int64, y, types.int64), generate

    return tile


def _write_tile(context, builder, signature, arguments, rows, panels):
    x, W, y = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 4))
    row, first_panel, column = arguments[1], arguments[3], arguments[5]
    vector, integer = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)

    def at(data, *terms):  # the address of data[sum of products]
        index = integer(0)
        for term in terms:
            product = integer(1)
            for factor in term:
                product = builder.mul(product, factor if isinstance(factor, ir.Value) else integer(factor))
            index = builder.add(index, product)
        return builder.gep(data, [index])

    def load(address):
        value = builder.load(builder.bitcast(address, vector.as_pointer()))
        value.align = 4
        return value

    x_width, y_width = builder.extract_value(x.shape, 1), builder.extract_value(y.shape, 1)
    n_in = builder.extract_value(W.shape, 1)
    x_rows = [at(x.data, (builder.add(row, integer(i)), x_width)) for i in range(rows)]
    columns = [at(W.data, (builder.add(first_panel, integer(q)), n_in, LANES)) for q in range(panels)]
    targets = [
        at(y.data, (builder.add(row, integer(i)), y_width), (column,), (first_panel, LANES), (q * LANES,))
        for i in range(rows)
        for q in range(panels)
    ]
    starts = [load(target) for target in targets]

    before = builder.block
    body, after = builder.append_basic_block("k"), builder.append_basic_block("end")
    builder.cbranch(builder.icmp_signed(">", n_in, integer(0)), body, after)
    builder.position_at_end(body)
    k = builder.phi(integer)
    sums = [builder.phi(vector) for _ in targets]
    weights = [load(at(data, (k, LANES))) for data in columns]
    if rows > 2:  # the cache line may lie outside the array: this cannot fail
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        address = builder.bitcast(at(columns[0], (k, LANES), (PREFETCH,)), byte)
        builder.call(prefetch, [address, flag(0), flag(3), flag(1)])
    new_sums = []
    for i in range(rows):
        value = _spread(builder, builder.load(at(x_rows[i], (k,))), vector)
        for q in range(panels):
            product = builder.fmul(value, weights[q], flags=("contract",))
            new_sums.append(builder.fadd(sums[i * panels + q], product, flags=("contract",)))
    next_k = builder.add(k, integer(1))
    builder.cbranch(builder.icmp_signed("<", next_k, n_in), body, after)
    for phi, start, new in zip([k, *sums], [integer(0), *starts], [next_k, *new_sums], strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(new, body)

    builder.position_at_end(after)
    results = [builder.phi(vector) for _ in targets]
    for target, start, new, result in zip(targets, starts, new_sums, results, strict=True):
        result.add_incoming(start, before)
        result.add_incoming(new, body)
        builder.store(result, builder.bitcast(target, vector.as_pointer())).align = 4
    return context.get_dummy_value()


def _spread(builder, value, vector):
    undefined, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    single = builder.insert_element(undefined, value, index(0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))


_tile_1x4, _tile_1x1 = _tile(1, 4), _tile(1, 1)
_tile_2x2, _tile_2x1 = _tile(2, 2), _tile(2, 1)
_tile_3x1, _tile_4x1, _tile_5x1, _tile_6x1 = _tile(3, 1), _tile(4, 1), _tile(5, 1), _tile(6, 1)
