// Strips of neighbouring channels: N elements that a thread moves at once, in vectors of up to 16 bytes. N is 1 where shape or
// place do not allow more; elements and their arithmetic are the same either way, so the bits are.
#ifndef ECD_KERNELS_CUDA_STRIPS_CUH
#define ECD_KERNELS_CUDA_STRIPS_CUH

#include "kernels/cuda/device.cuh"

enum { ECD_STRIP_BYTES = 16 };

// How many elements they are.
template <typename Act> struct ecd_strip {
    enum { elements = ECD_STRIP_BYTES / sizeof(Act) };
};

// ---------------------------------------------------------------- on the device

// A strip as it lies in memory: of BF16 two in a word, the first in its lower half.
template <typename Act, int N> struct ecd_words {
    enum { bytes = N * sizeof(Act), count = (bytes + 3) / 4 };
    uint32_t w[count];
};

template <typename Act, int N> static __device__ __forceinline__ void ecd_load_words(const Act *x, ecd_words<Act, N> &to)
{
    enum { BYTES = ecd_words<Act, N>::bytes };
    static_assert(BYTES == 2 || BYTES == 4 || BYTES == 8 || BYTES % 16 == 0, "whole vectors");
    if constexpr (BYTES == 2) {
        to.w[0] = *(const uint16_t *)x;
    } else if constexpr (BYTES == 4) {
        to.w[0] = *(const uint32_t *)x;
    } else if constexpr (BYTES == 8) {
        const uint2 two = *(const uint2 *)x;
        to.w[0] = two.x, to.w[1] = two.y;
    } else {
#pragma unroll
        for (int i = 0; i < BYTES / 4; i += 4) {
            const uint4 four = ((const uint4 *)x)[i / 4];
            to.w[i] = four.x, to.w[i + 1] = four.y, to.w[i + 2] = four.z, to.w[i + 3] = four.w;
        }
    }
}

template <typename Act, int N> static __device__ __forceinline__ void ecd_store_words(Act *x, const ecd_words<Act, N> &from)
{
    enum { BYTES = ecd_words<Act, N>::bytes };
    static_assert(BYTES == 2 || BYTES == 4 || BYTES == 8 || BYTES % 16 == 0, "whole vectors");
    if constexpr (BYTES == 2) {
        *(uint16_t *)x = (uint16_t)from.w[0];
    } else if constexpr (BYTES == 4) {
        *(uint32_t *)x = from.w[0];
    } else if constexpr (BYTES == 8) {
        *(uint2 *)x = make_uint2(from.w[0], from.w[1]);
    } else {
#pragma unroll
        for (int i = 0; i < BYTES / 4; i += 4)
            ((uint4 *)x)[i / 4] = make_uint4(from.w[i], from.w[i + 1], from.w[i + 2], from.w[i + 3]);
    }
}

template <typename Act, int N> static __device__ __forceinline__ void ecd_widen(const ecd_words<Act, N> &from, float (&v)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        if constexpr (sizeof(Act) == sizeof(float))
            v[i] = __uint_as_float(from.w[i]);
        else
            v[i] = i % 2 ? __uint_as_float(from.w[i / 2] & 0xffff0000u) : ecd_bf16_float(from.w[i / 2]);
    }
}

template <int N, typename Act> static __device__ __forceinline__ void ecd_load_strip(const Act *x, float (&v)[N])
{
    ecd_words<Act, N> words;
    ecd_load_words(x, words);
    ecd_widen(words, v);
}

// Results of arithmetic: of BF16 any NaN becomes 0x7fff, which arithmetic gives.
template <int N, typename Act> static __device__ __forceinline__ void ecd_store_strip(Act *x, const float (&v)[N])
{
    ecd_words<Act, N> words;
#pragma unroll
    for (int i = 0; i < N; i++) {
        if constexpr (sizeof(Act) == sizeof(float))
            words.w[i] = __float_as_uint(v[i]);
        else if (i % 2 == 0)
            words.w[i / 2] = ecd_pack_bf16(v[i], i + 1 < N ? v[i + 1] : 0.0f);
    }
    ecd_store_words(x, words);
}

// What a group norm makes of N neighbouring channels, for as many pixels as a thread has.
template <int N> struct ecd_group_strip {
    float moments[2 * N], gamma[N], beta[N]; // moments: ecd_cuda_moments
};

template <int N>
static __device__ __forceinline__ void ecd_load_group_strip(const ecd_group_norm &op, int64_t c, ecd_group_strip<N> &g)
{
    ecd_load_strip((const float *)op.measured + 2 * c, g.moments);
    ecd_load_strip(op.gamma + c, g.gamma);
    ecd_load_strip(op.beta + c, g.beta);
}

template <int N> static __device__ __forceinline__ void ecd_group_values(const ecd_group_strip<N> &g, bool silu, float (&v)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        v[i] = (v[i] - g.moments[2 * i]) * g.moments[2 * i + 1];
        v[i] = v[i] * g.gamma[i] + g.beta[i];
        if (silu)
            v[i] = ecd_silu(v[i]);
    }
}

// ---------------------------------------------------------------- on the host

// Whether vectors of so many bytes lie at `at` and whole strides after it.
static inline bool ecd_lies_at(const void *at, int64_t stride, size_t element_bytes, size_t vector_bytes)
{
    return (uintptr_t)at % vector_bytes == 0 && (size_t)stride * element_bytes % vector_bytes == 0;
}

static inline bool ecd_floats_lie(const float *at, int64_t stride)
{
    return ecd_lies_at(at, stride, sizeof *at, ECD_STRIP_BYTES);
}

// What ecd_load_group_strip reads.
static inline bool ecd_group_lies(const ecd_group_norm &op)
{
    return ecd_floats_lie((const float *)op.measured, 0) && ecd_floats_lie(op.gamma, 0) && ecd_floats_lie(op.beta, 0);
}

// Blocks of about ECD_BLOCK threads over rows of strips. A thread's strip is its x in blockIdx.y, its rows, `each` of them and
// blockDim.y apart, begin at its y in blockIdx.x; rows of few strips share a block.
typedef struct ecd_tiling {
    dim3 grid, block;
} ecd_tiling;

static inline ecd_tiling ecd_tile_rows(int64_t rows, int64_t strips, int each)
{
    const unsigned across = ecd_cover(strips, ECD_BLOCK), wide = ecd_cover(strips, across);
    unsigned x = 1;
    while (x < wide && x < ECD_WARP)
        x *= 2;
    if (wide > ECD_WARP)
        x = ecd_cover(wide, ECD_WARP) * ECD_WARP;
    const unsigned y = ECD_BLOCK / x;
    ecd_tiling t = {dim3(ecd_cover(rows, (int64_t)y * each), across), dim3(x, y)};
    return t;
}

#endif
