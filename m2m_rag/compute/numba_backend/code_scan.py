"""The code scan: XOR and popcount of 1-bit codes with a query's bit-planes, 8 codes at a time.

LLVM does not vectorise a popcount loop well by itself (17 ns a code of 384 bits), so the loop over
a block is written as LLVM IR: 8 lanes of 64 bits, `llvm.ctpop.v8i64`, one accumulator a plane. On
AVX-512 that is VPOPCNTQ; on AVX2 and NEON LLVM lowers the same IR to byte shuffles and CNT.

Measured on one core of an AMD EPYC (Zen 4), CPU time, 100,000 codes streamed from memory: 0.7 ns a
code of 128 bits, 1.6 of 384, 2.9 of 768. A call from Python costs 0.5 µs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from m2m_rag.compute.base import LANES, PLANES, WORD_BITS
from m2m_rag.compute.numba_backend.compiling import kernel

F32 = NDArray[np.float32]
U64 = NDArray[np.uint64]

_I64, _F32 = ir.IntType(64), ir.FloatType()
_WORDS = ir.VectorType(_I64, LANES)
_COUNTS = ir.VectorType(ir.IntType(32), LANES)
_FLOATS = ir.VectorType(_F32, LANES)


@intrinsic
def _estimate_block(
    typing_context: Any,
    words: Any,
    planes: Any,
    n_words: Any,
    scale: Any,
    offset: Any,
    step: Any,
    base: Any,
    out: Any,
) -> Any:
    """Write 8 estimates: (scale * step) * inner + (offset + base).

    `words`, `planes`, `scale`, `offset` and `out` are addresses; the planes of word w lie at
    4 w to 4 w + 3. All floating-point steps are float32 in this order, without contraction, so
    that numpy computes the same bits.
    """
    address, real = types.uint64, types.float32
    signature = types.void(address, address, types.int64, address, address, real, real, address)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, planes, n_words, scale, offset, step, base, out = arguments
        tools: Any = cgutils
        count = tools.get_or_insert_function(
            builder.module, ir.FunctionType(_WORDS, [_WORDS]), "llvm.ctpop.v8i64"
        )
        zero = ir.Constant(_WORDS, [0] * LANES)
        totals = [tools.alloca_once_value(builder, zero) for _ in range(PLANES)]
        word_pointer = builder.inttoptr(words, _WORDS.as_pointer())
        plane_pointer = builder.inttoptr(planes, _I64.as_pointer())
        with tools.for_range(builder, n_words) as loop:
            code = builder.load(builder.gep(word_pointer, [loop.index]), align=8)
            first = builder.mul(loop.index, ir.Constant(_I64, PLANES))
            for plane, total in enumerate(totals):
                at = builder.add(first, ir.Constant(_I64, plane))
                bits = _everywhere(builder, builder.load(builder.gep(plane_pointer, [at])), _WORDS)
                differing = builder.call(count, [builder.xor(code, bits)])
                builder.store(builder.add(builder.load(total), differing), total)
        weighted = builder.load(totals[0])
        for plane in range(1, PLANES):
            shift = ir.Constant(_WORDS, [plane] * LANES)
            weighted = builder.add(weighted, builder.shl(builder.load(totals[plane]), shift))
        # sum of 2^p (D - 2 differing) = 15 D - 2 weighted, D = 64 n_words
        doubled = builder.shl(weighted, ir.Constant(_WORDS, [1] * LANES))
        most = builder.mul(n_words, ir.Constant(_I64, WORD_BITS * (2**PLANES - 1)))
        inner = builder.sub(_everywhere(builder, most, _WORDS), doubled)
        inner = builder.sitofp(builder.trunc(inner, _COUNTS), _FLOATS)

        def load(address: Any) -> Any:
            return builder.load(builder.inttoptr(address, _FLOATS.as_pointer()), align=4)

        factor = builder.fmul(load(scale), _everywhere(builder, step, _FLOATS))
        shifted = builder.fadd(load(offset), _everywhere(builder, base, _FLOATS))
        estimate = builder.fadd(builder.fmul(factor, inner), shifted)
        builder.store(estimate, builder.inttoptr(out, _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, generate


def _everywhere(builder: Any, value: Any, vector: Any) -> Any:
    """Return a vector with `value` in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(_COUNTS, [0] * LANES))


@kernel()
def scan(words: U64, planes: U64, scale: F32, offset: F32, step: Any, base: Any, out: F32) -> None:
    """Write the estimate of each code: `words` ``(b, n_words, 8)``, `planes` ``(n_words, 4)``."""
    n_blocks, n_words = words.shape[0], words.shape[1]
    code, plane = words.ctypes.data, np.uint64(planes.ctypes.data)
    factor, shift, result = scale.ctypes.data, offset.ctypes.data, out.ctypes.data
    for block in range(n_blocks):
        _estimate_block(  # type: ignore[call-arg]
            np.uint64(code + block * n_words * 64),
            plane,
            n_words,
            np.uint64(factor + block * 32),
            np.uint64(shift + block * 32),
            step,
            base,
            np.uint64(result + block * 32),
        )
