// Vectors of LANES floats, in the compiler's vector extensions: kernels are written once and compiled for each level
// (kernels/CMakeLists.txt sets ECD_LEVEL, ECD_LANES and the instruction set). Loads and stores need no alignment.
#ifndef ECD_KERNELS_CPU_SIMD_H
#define ECD_KERNELS_CPU_SIMD_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) || defined(__FMA__)
#include <immintrin.h>
#endif

#include "base/dtype.h"

#define ECD_JOIN3_(a, b, c) a##b##_##c
#define ECD_JOIN3(a, b, c) ECD_JOIN3_(a, b, c)
#define ECD_NAME(name) ECD_JOIN3(ecd_cpu_, name, ECD_LEVEL)
#define LANES ECD_LANES
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint16_t vu16 __attribute__((vector_size(2 * LANES)));
typedef uint8_t vu8 __attribute__((vector_size(LANES)));

// ecd_dtype_size of a type that kernels compute with, inline.
ALWAYS_INLINE size_t vsize(ecd_dtype dtype)
{
    return dtype == ECD_F32 ? 4 : dtype == ECD_F16 || dtype == ECD_BF16 ? 2 : 1;
}

// Bytes with their signs to 32 bits. gcc 12 takes __builtin_convertvector from 8 bytes apart lane by lane, 4 times as
// slow as the instruction.
ALWAYS_INLINE vi vwiden_s8(vu8 bytes)
{
    vi v;
#if defined(__AVX512F__) && LANES == 16
    v = (vi)_mm512_cvtepi8_epi32((__m128i)bytes);
#elif defined(__AVX2__) && LANES >= 8
    for (int half = 0; half < LANES / 8; half++) {
        int64_t eight;
        memcpy(&eight, (char *)&bytes + 8 * half, 8);
        __m256i wide = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128(eight));
        memcpy((char *)&v + 32 * half, &wide, 32);
    }
#else
    typedef int8_t vs8 __attribute__((vector_size(LANES)));
    v = __builtin_convertvector((vs8)bytes, vi);
#endif
    return v;
}

ALWAYS_INLINE vf vsplat(float x)
{
    return x - (vf){0}; // keeps -0
}

ALWAYS_INLINE vf vload(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

ALWAYS_INLINE void vstore(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

// a b + c, rounded once wherever the CPU has the instruction, so that all levels give the same bits. Contraction is off,
// and this the only one: a compiler that contracts by itself does it in one copy of a kernel and not in another, and the
// bits of a row depend on the batch.
ALWAYS_INLINE vf vfma(vf a, vf b, vf c)
{
#if defined(__AVX512F__) && LANES == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && LANES == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__FMA__) && LANES == 4
    return (vf)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(__FMA__) && LANES == 16
    __m256 x[2], y[2], z[2];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    memcpy(z, &c, sizeof c);
    z[0] = _mm256_fmadd_ps(x[0], y[0], z[0]);
    z[1] = _mm256_fmadd_ps(x[1], y[1], z[1]);
    memcpy(&c, z, sizeof c);
    return c;
#else
    return a * b + c;
#endif
}

ALWAYS_INLINE vf vselect(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

// The greater one; `b` where `a` is NaN.
ALWAYS_INLINE vf vmax(vf a, vf b)
{
    return vselect(a > b, a, b);
}

// A sum along a row is kept in 16 lanes whatever the level's vectors are: element i is added to lane i % 16. vsum adds
// the lanes up in one order, so that all levels give the same bits.
enum { SUM_LANES = 16, SUM_VECTORS = SUM_LANES / LANES };

ALWAYS_INLINE float vsum(vf sum[SUM_VECTORS])
{
    float lane[LANES];
    for (int half = SUM_VECTORS / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            sum[i] += sum[i + half];
    vstore(lane, sum[0]);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

ALWAYS_INLINE float vlargest(vf v)
{
    float lane[LANES];
    vstore(lane, v);
    for (int i = 1; i < LANES; i++)
        lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
    return lane[0];
}

// Element types to float, exactly; NaN and infinities as base/dtype.h has them.
ALWAYS_INLINE vf vfrom_bf16(vu16 bits)
{
    return (vf)(__builtin_convertvector(bits, vi) << 16);
}

ALWAYS_INLINE vf vfrom_f16_bits(vi h)
{
    vi magnitude = h & 0x7fff, sign = (h & 0x8000) << 16;
    vf finite = (vf)(magnitude << 13) * 0x1p112f; // moves the exponent's bias; exact for subnormals too
    vf special = (vf)((magnitude << 13) | 0x7f800000);
    return (vf)((vi)vselect(magnitude >= 0x7c00, special, finite) | sign);
}

ALWAYS_INLINE vf vfrom_e4m3(vu8 bytes)
{
    // The sign-extended byte, shifted: the sign falls into bit 31, exponent and mantissa where a float has them.
    vi bits = (vwiden_s8(bytes) << 20) & (int32_t)0x87f00000;
    vi nan = (bits & 0x07f00000) == 0x07f00000;
    return (vf)((vi)((vf)bits * 0x1p120f) | (nan & 0x7ff00000));
}

// Rounds to BF16, ties to even; bits in the low half of each lane.
ALWAYS_INLINE vi vto_bf16_bits(vf v)
{
    typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
    vu bits = (vu)v;
    vi rounded = (vi)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    vi nan = v != v;
    return (nan & 0x7fc0) | (~nan & rounded);
}

ALWAYS_INLINE vf vround_bf16(vf v)
{
    return (vf)(vto_bf16_bits(v) << 16);
}

// LANES elements of a computable type from unaligned memory.
ALWAYS_INLINE vf vload_type(ecd_dtype dtype, const void *p)
{
    vf v;
    vu16 half;
    vu8 byte;
    switch (dtype) {
    case ECD_F16: memcpy(&half, p, sizeof half); return vfrom_f16_bits(__builtin_convertvector(half, vi));
    case ECD_BF16: memcpy(&half, p, sizeof half); return vfrom_bf16(half);
    case ECD_E4M3: memcpy(&byte, p, sizeof byte); return vfrom_e4m3(byte);
    case ECD_E5M2: memcpy(&byte, p, sizeof byte); return vfrom_f16_bits((vwiden_s8(byte) & 0xff) << 8);
    default: memcpy(&v, p, sizeof v); return v;
    }
}

// The first `count` < LANES elements, zeros after them.
ALWAYS_INLINE vf vload_part(ecd_dtype dtype, const void *p, int64_t count)
{
    uint8_t bytes[4 * LANES] = {0};
    memcpy(bytes, p, (size_t)count * vsize(dtype));
    return vload_type(dtype, bytes);
}

ALWAYS_INLINE vf vload_some(ecd_dtype dtype, const void *p, int64_t count)
{
    return count >= LANES ? vload_type(dtype, p) : vload_part(dtype, p, count);
}

// Stores the first min(count, LANES) lanes as F32 or BF16.
ALWAYS_INLINE void vstore_some(ecd_dtype dtype, void *p, vf v, int64_t count)
{
    size_t lanes = count >= LANES ? LANES : (size_t)count;
    if (dtype == ECD_BF16) {
        vu16 half = __builtin_convertvector(vto_bf16_bits(v), vu16);
        if (lanes == LANES)
            memcpy(p, &half, sizeof half);
        else
            memcpy(p, &half, 2 * lanes);
    } else if (lanes == LANES) {
        memcpy(p, &v, sizeof v);
    } else {
        memcpy(p, &v, 4 * lanes);
    }
}

// exp, within 2 ulp; Cody-Waite reduction and a polynomial of degree 6 on [-ln2/2, ln2/2]. Infinities give 0 and
// infinity, NaN passes. The power of two is applied in halves, so that subnormal results come out.
ALWAYS_INLINE vf vexp(vf x)
{
    x = vselect(x > 89.0f, vsplat(89.0f), x);
    x = vselect(x < -104.0f, vsplat(-104.0f), x);
    vf shifted = vfma(x, vsplat(1.44269504f), vsplat(12582912.0f)); // the sum's low bits hold the nearest integer
    vi n = (vi)shifted - 0x4b400000;
    vf whole = shifted - 12582912.0f;
    vf r = vfma(whole, vsplat(-0.693359375f), x);
    r = vfma(whole, vsplat(2.12194440e-4f), r);
    vf p = vfma(r, vsplat(1.9875691500e-4f), vsplat(1.3981999507e-3f));
    p = vfma(p, r, vsplat(8.3334519073e-3f));
    p = vfma(p, r, vsplat(4.1665795894e-2f));
    p = vfma(p, r, vsplat(1.6666665459e-1f));
    p = vfma(p, r, vsplat(5.0000001201e-1f));
    p = vfma(p, r * r, r) + 1.0f;
    vi half = n >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((n - half + 127) << 23);
}

ALWAYS_INLINE vf vsilu(vf v)
{
    return v / (1.0f + vexp(-v));
}

// 0.5 v (1 + tanh(u)) = v / (1 + exp(-2u)).
ALWAYS_INLINE vf vgelu_tanh(vf v)
{
    vf twice = v * (1.595769122f + 0.0713548163f * v * v); // 2 sqrt(2/pi), and times 0.044715
    return v / (1.0f + vexp(-twice));
}

#endif
