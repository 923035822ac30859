"""What Numba cannot say by itself, as LLVM IR: the scan of a block of codes, prefetch, pointers.

LLVM does not vectorise a popcount loop well by itself (17 ns a code of 384 bits), so the loop over
a block is written as IR: 8 lanes of 64 bits, `llvm.ctpop.v8i64`, one accumulator a plane. On
AVX-512 that is VPOPCNTQ; on AVX2 and NEON LLVM lowers the same IR to byte shuffles and CNT.
Estimate, bound and comparison are part of it, on 8 lanes of float32: done lane by lane they cost
11 ns a code, more than the counting.

Measured on one core of an AMD EPYC (Zen 4), CPU time, 100,000 codes streamed from memory: 0.7 ns a
code of 128 bits, 1.6 of 384, 2.9 of 768. Compiled for AVX2 alone (``NUMBA_CPU_NAME=znver2``, same
core), a whole search takes 1.6 times as long at recall 0.95 and 1.7 times at 0.99.

Table scans, which add up 8-bit sums looked up by some bits of code, were measured in C against the
same count (d = 384, codes in the cache, 1,264 clusters of 80 rows, unused lanes counted with the
used ones). AVX-512: 1.46 ns a row by popcount; 1.29 by VPSHUFB, 4 bits a look-up, 16 rows a block;
1.32 by VPERMB, 6 bits, 64 rows a block, at 78 bytes a row instead of 58. Counting is a fifth of a
search, so that is 3 % of it at most. AVX2: 4.4 ns by popcount; 1.7 by VPSHUFB on bytes that lie 16
rows side by side, at 61 bytes a row; 2.4 on pairs of the present blocks, transposed in registers,
with the same sums as the count. Neither was built; by these figures, a search with AVX2 alone would
take a fifth and a seventh less.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from m2m_rag.compute.clustered import FINE_PLANES, LANES, PLANES, WORD_BITS
from m2m_rag.compute.clustered_base import MIX_LANES

_tools: Any = cgutils
_types: Any = types
_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_WORDS = ir.VectorType(_I64, LANES)
_COUNTS = ir.VectorType(_I32, LANES)
_FLOATS = ir.VectorType(_F32, LANES)


def _scan_with(n_planes: int) -> Any:
    """Return the block scan for queries of `n_planes` bit-planes."""

    @intrinsic
    def scan(
        typing_context: Any,
        block: Any,
        planes: Any,
        n_words: Any,
        step: Any,
        reach: Any,
        along: Any,
        base: Any,
        bar: Any,
        out: Any,
    ) -> Any:
        """Write 8 estimates to `out`; return a bit for each that could pass `bar`.

        estimate = scale * (step * inner) + (offset * along + base); a lane's bit is set when
        ``estimate + scale * reach > bar``. `block`, `planes` and `out` are addresses; the planes
        of word w lie at ``n_planes * w``. Float32 in this order, without contraction, so that
        numpy computes the same bits.
        """
        address, real = types.uint64, types.float32
        signature = types.uint8(
            address, address, types.int64, real, real, real, real, real, address
        )

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            block, planes, n_words, step, reach, along, base, bar, out = arguments
            count = _tools.get_or_insert_function(
                builder.module, ir.FunctionType(_WORDS, [_WORDS]), "llvm.ctpop.v8i64"
            )
            zero = ir.Constant(_WORDS, [0] * LANES)
            totals = [_tools.alloca_once_value(builder, zero) for _ in range(n_planes)]
            words = builder.inttoptr(block, _WORDS.as_pointer())
            bits = builder.inttoptr(planes, _I64.as_pointer())
            with _tools.for_range(builder, n_words) as loop:
                code = builder.load(builder.gep(words, [loop.index]), align=8)
                first = builder.mul(loop.index, ir.Constant(_I64, n_planes))
                for plane, total in enumerate(totals):
                    at = builder.add(first, ir.Constant(_I64, plane))
                    same = _everywhere(builder, builder.load(builder.gep(bits, [at])), _WORDS)
                    differing = builder.call(count, [builder.xor(code, same)])
                    builder.store(builder.add(builder.load(total), differing), total)
            weighted = builder.load(totals[0])
            for plane in range(1, n_planes):
                shift = ir.Constant(_WORDS, [plane] * LANES)
                weighted = builder.add(weighted, builder.shl(builder.load(totals[plane]), shift))
            # sum of 2^p (D - 2 differing) = (2^planes - 1) D - 2 weighted, D = 64 n_words
            doubled = builder.shl(weighted, ir.Constant(_WORDS, [1] * LANES))
            most = builder.mul(n_words, ir.Constant(_I64, WORD_BITS * (2**n_planes - 1)))
            inner = builder.sub(_everywhere(builder, most, _WORDS), doubled)
            inner = builder.sitofp(builder.trunc(inner, _COUNTS), _FLOATS)
            floats = builder.bitcast(builder.gep(words, [n_words]), _FLOATS.as_pointer())
            scale = builder.load(floats, align=4)
            offset = builder.load(builder.gep(floats, [ir.Constant(_I64, 1)]), align=4)
            stepped = builder.fmul(_everywhere(builder, step, _FLOATS), inner)
            shifted = builder.fadd(
                builder.fmul(offset, _everywhere(builder, along, _FLOATS)),
                _everywhere(builder, base, _FLOATS),
            )
            estimate = builder.fadd(builder.fmul(scale, stepped), shifted)
            builder.store(estimate, builder.inttoptr(out, _FLOATS.as_pointer()), align=4)
            far = builder.fmul(scale, _everywhere(builder, reach, _FLOATS))
            passes = builder.fcmp_ordered(
                ">", builder.fadd(estimate, far), _everywhere(builder, bar, _FLOATS)
            )
            return builder.bitcast(passes, _I8)

        return signature, generate

    return scan


def _everywhere(builder: Any, value: Any, vector: Any) -> Any:
    """Return a vector with `value` in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(_COUNTS, [0] * LANES))


scan_block = _scan_with(PLANES)
scan_block_finely = _scan_with(FINE_PLANES)


@intrinsic
def _prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address, to lie in the second level of the cache.

    In the first level, searches take 5 to 11 % longer; with vectors past the second (NTA), 9 %.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _I8.as_pointer()
        function = _tools.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32]),
            "llvm.prefetch.p0",
        )
        read, second_level, data = (ir.Constant(_I32, value) for value in (0, 2, 1))
        builder.call(function, [builder.inttoptr(arguments[0], pointer), read, second_level, data])
        return context.get_dummy_value()

    return types.void(types.uint64), generate


prefetch: Any = _prefetch


def _pointer_to(kind: Any) -> Any:
    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        """Return the address as a pointer, to be indexed like an array."""
        signature = _types.CPointer(kind)(types.uint64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return signature, generate

    return pointer


as_float32s = _pointer_to(types.float32)
as_int32s = _pointer_to(types.int32)
as_int8s = _pointer_to(types.int8)
as_addresses = _pointer_to(types.uint64)


@intrinsic
def _butterfly(typing_context: Any, left: Any, right: Any) -> Any:
    """Replace 16 float32 at each of two addresses by their sums and their differences."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(_F32, MIX_LANES).as_pointer()
        first, second = (builder.inttoptr(address, kind) for address in arguments)
        a, b = builder.load(first, align=4), builder.load(second, align=4)
        builder.store(builder.fadd(a, b), first, align=4)
        builder.store(builder.fsub(a, b), second, align=4)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), generate


@intrinsic
def _bit_of_bytes(typing_context: Any, address: Any, bit: Any) -> Any:
    """Return bit `bit` of each of the 64 bytes at an address, as a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(_I8, WORD_BITS)
        levels = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
        one = builder.shl(ir.Constant(_I8, 1), builder.trunc(arguments[1], _I8))
        undefined = ir.Constant(kind, ir.Undefined)
        ones = builder.shuffle_vector(
            builder.insert_element(undefined, one, ir.Constant(_I32, 0)),
            undefined,
            ir.Constant(ir.VectorType(_I32, WORD_BITS), [0] * WORD_BITS),
        )
        is_set = builder.icmp_unsigned(
            "!=", builder.and_(levels, ones), ir.Constant(kind, [0] * WORD_BITS)
        )
        return builder.bitcast(is_set, _I64)

    return types.uint64(types.uint64, types.int64), generate


@intrinsic
def _lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Return the number of a mask's lowest bit that is set; the mask is not 0.

    Looking at one bit after the other made searches 2 to 4 % slower (100 pairs of runs in turns).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = context.cast(builder, arguments[0], mask, types.int64)
        return builder.cttz(wide, ir.Constant(ir.IntType(1), 1))

    return types.int64(mask), generate


butterfly: Any = _butterfly
bit_of_bytes: Any = _bit_of_bytes
lowest_bit: Any = _lowest_bit
