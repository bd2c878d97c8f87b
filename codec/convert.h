// Weights of one dtype as BF16 or F32, and the joining of symbols and planes of the 16-bit dtypes: plain C loops,
// which the compiler turns into vectors. This header holds the bodies; each instruction set compiles them with its
// own flags.
#ifndef ECF8_CONVERT_H
#define ECF8_CONVERT_H

#include "codec/format.h"

void ecf8_merge16_scalar(const uint8_t *symbols, const uint8_t *plane, ecf8_dtype dtype, uint16_t *out, size_t count);
void ecf8_convert_scalar(const void *in, ecf8_dtype dtype, ecf8_form form, const float *scale, void *out, size_t count);

static inline float ecf8_float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t ecf8_bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

// A small float of `mantissa` bits whose sign bit stands at bit 31 and whose other bits follow it at their place in
// F32, with exponent bias less by 127 - bias: multiplying by 2^(127 - bias) puts the exponent right and makes
// subnormals exact.
static inline float ecf8_rebias(uint32_t sign, uint32_t rest, float factor)
{
    return ecf8_float_of_bits(ecf8_bits_of_float(ecf8_float_of_bits(rest) * factor) | sign);
}

// E4M3 and E5M2 are exact in BF16. In integers, because float operations on subnormals take traps of 150 cycles on
// some CPUs, and because loops of 16-bit selections become vectors.
static inline uint16_t ecf8_bf16_of_e4m3(uint8_t x)
{
    const uint16_t m = x & 0x7f;
    uint16_t r = (uint16_t)((m << 4) + (120 << 7));
    const uint16_t four = (uint16_t)(0x3b80 + (m << 5)); // subnormals m / 512, of 4..7, 2..3 and 1
    const uint16_t two = (uint16_t)(0x3b00 + (m << 6));
    r = m < 8 ? four : r;
    r = m < 4 ? two : r;
    r = m < 2 ? (uint16_t)(m * 0x3b00) : r;
    r = m == 0x7f ? 0x7ff0 : r;
    return (uint16_t)(r | (x & 0x80) << 8);
}

static inline uint16_t ecf8_bf16_of_e5m2(uint8_t x)
{
    const uint16_t m = x & 0x7f;
    uint16_t r = (uint16_t)((m << 5) + (112 << 7));
    r = m < 4 ? (uint16_t)(m < 2 ? 0x3780 : 0x3780 + (m << 6)) : r;
    r = m < 1 ? 0 : r;
    r = m >= 0x7c ? (uint16_t)(0x7f80 | (m & 3) << 5) : r;
    r = m > 0x7c ? (uint16_t)(r | 0x40) : r;
    return (uint16_t)(r | (x & 0x80) << 8);
}

static inline float ecf8_f32_of_e4m3(uint8_t x)
{
    return ecf8_float_of_bits((uint32_t)ecf8_bf16_of_e4m3(x) << 16);
}

// Of the 5-bit exponents the highest means infinity and NaN: both keep their mantissa, NaNs become quiet.
static inline float ecf8_f32_of_half_bits(uint32_t sign, uint32_t rest)
{
    const uint32_t bits = ecf8_bits_of_float(ecf8_rebias(sign, rest, 0x1p112F));
    const uint32_t top = rest >= UINT32_C(0x0f800000) ? UINT32_C(0x7f800000) : 0;
    const uint32_t quiet = rest > UINT32_C(0x0f800000) ? UINT32_C(0x00400000) : 0;
    return ecf8_float_of_bits(bits | top | quiet);
}

static inline float ecf8_f32_of_e5m2(uint8_t x)
{
    return ecf8_float_of_bits((uint32_t)ecf8_bf16_of_e5m2(x) << 16);
}

static inline float ecf8_f32_of_f16(uint16_t x)
{
    return ecf8_f32_of_half_bits((uint32_t)(x & 0x8000) << 16, (uint32_t)(x & 0x7fff) << 13);
}

static inline float ecf8_f32_of_bf16(uint16_t x)
{
    return ecf8_float_of_bits((uint32_t)x << 16);
}

static inline uint16_t ecf8_bf16_of_f32(float f)
{
    const uint32_t bits = ecf8_bits_of_float(f);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    const uint32_t quiet = bits | UINT32_C(0x00400000);
    return (uint16_t)(((bits & 0x7fffffff) > UINT32_C(0x7f800000) ? quiet : rounded) >> 16);
}

static inline void ecf8_merge16_body(const uint8_t *restrict symbols, const uint8_t *restrict plane, ecf8_dtype dtype,
                                     uint16_t *restrict out, size_t count)
{
    if (dtype == ECF8_BF16)
        for (size_t i = 0; i < count; i++)
            out[i] = (uint16_t)((uint32_t)symbols[i] << 7 | (plane[i] & 0x7f) | (uint32_t)(plane[i] & 0x80) << 8);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (uint16_t)((uint32_t)symbols[i] << 8 | plane[i]);
}

// One loop for each pair of dtype and form. Exact values need no rounding on the way to BF16, but share its path.
#define ECF8_CONVERT_LOOP(type, to_f32)                                                                                \
    do {                                                                                                               \
        const type *restrict x = in;                                                                                   \
        if (form == ECF8_FORM_F32 && scale)                                                                            \
            for (size_t i = 0; i < count; i++)                                                                         \
                ((float *)out)[i] = to_f32(x[i]) * factor;                                                             \
        else if (form == ECF8_FORM_F32)                                                                                \
            for (size_t i = 0; i < count; i++)                                                                         \
                ((float *)out)[i] = to_f32(x[i]);                                                                      \
        else if (scale)                                                                                                \
            for (size_t i = 0; i < count; i++)                                                                         \
                ((uint16_t *)out)[i] = ecf8_bf16_of_f32(to_f32(x[i]) * factor);                                        \
        else                                                                                                           \
            for (size_t i = 0; i < count; i++)                                                                         \
                ((uint16_t *)out)[i] = ecf8_bf16_of_f32(to_f32(x[i]));                                                 \
    } while (0)

static inline void ecf8_convert_body(const void *restrict in, ecf8_dtype dtype, ecf8_form form, const float *scale,
                                     void *restrict out, size_t count)
{
    const float factor = scale ? *scale : 1.0F;
    const uint8_t *restrict bytes = in;
    uint16_t *restrict halves = out;
    if (form == ECF8_FORM_BF16 && !scale && dtype == ECF8_E4M3) {
        for (size_t i = 0; i < count; i++)
            halves[i] = ecf8_bf16_of_e4m3(bytes[i]);
        return;
    }
    if (form == ECF8_FORM_BF16 && !scale && dtype == ECF8_E5M2) {
        for (size_t i = 0; i < count; i++)
            halves[i] = ecf8_bf16_of_e5m2(bytes[i]);
        return;
    }
    switch (dtype) {
    case ECF8_E4M3: ECF8_CONVERT_LOOP(uint8_t, ecf8_f32_of_e4m3); break;
    case ECF8_E5M2: ECF8_CONVERT_LOOP(uint8_t, ecf8_f32_of_e5m2); break;
    case ECF8_BF16: ECF8_CONVERT_LOOP(uint16_t, ecf8_f32_of_bf16); break;
    case ECF8_F16: ECF8_CONVERT_LOOP(uint16_t, ecf8_f32_of_f16); break;
    }
}

#endif
