#include "base/dtype.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[ECD_DTYPE_COUNT] = {
    [ECD_DTYPE_UNKNOWN] = {"unknown", 0}, [ECD_F32] = {"F32", 4},     [ECD_F16] = {"F16", 2},
    [ECD_BF16] = {"BF16", 2},             [ECD_E4M3] = {"F8_E4M3", 1}, [ECD_E5M2] = {"F8_E5M2", 1},
    [ECD_F64] = {"F64", 8},               [ECD_I64] = {"I64", 8},     [ECD_I32] = {"I32", 4},
    [ECD_I16] = {"I16", 2},               [ECD_I8] = {"I8", 1},       [ECD_U8] = {"U8", 1},
    [ECD_BOOL] = {"BOOL", 1},
};

size_t ecd_dtype_size(ecd_dtype dtype)
{
    return (unsigned)dtype < ECD_DTYPE_COUNT ? types[dtype].size : 0;
}

const char *ecd_dtype_name(ecd_dtype dtype)
{
    return (unsigned)dtype < ECD_DTYPE_COUNT ? types[dtype].name : types[0].name;
}

ecd_dtype ecd_dtype_of_name(const char *name)
{
    for (int i = 1; i < ECD_DTYPE_COUNT; i++)
        if (!strcmp(types[i].name, name))
            return (ecd_dtype)i;
    return ECD_DTYPE_UNKNOWN;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// A small IEEE-like format: sign, exponent of `exponent_bits`, mantissa of `mantissa_bits`.
static float widen(uint32_t bits, int exponent_bits, int mantissa_bits)
{
    uint32_t sign = bits >> (exponent_bits + mantissa_bits) & 1;
    uint32_t exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
    uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    float value = exponent ? ldexpf((float)(mantissa | 1u << mantissa_bits), (int)exponent - bias - mantissa_bits)
                           : ldexpf((float)mantissa, 1 - bias - mantissa_bits);
    return sign ? -value : value;
}

// Rounds |value| (finite) to the nearest of the same format, ties to even, as unsigned bits without sign. The result
// may run past the largest finite encoding: the caller decides what overflow means.
static uint32_t narrow(float value, int exponent_bits, int mantissa_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent;
    frexpf(value, &exponent); // value = m * 2^exponent, m in [0.5, 1)
    exponent -= 1;
    if (value == 0 || exponent < 1 - bias)
        exponent = 1 - bias; // subnormal: the quantum stops shrinking
    // Scaling by a power of two is exact here (double), and rint rounds ties to even.
    uint32_t steps = (uint32_t)rint(ldexp((double)value, mantissa_bits - exponent));
    // `steps` counts quanta with the implicit bit in place: adding it to the exponent field carries as it should.
    return ((uint32_t)(exponent + bias - 1) << mantissa_bits) + steps;
}

float ecd_from_f16(uint16_t bits)
{
    if ((bits & 0x7c00) == 0x7c00) // infinity and NaN keep sign and payload
        return float_of((uint32_t)(bits & 0x8000) << 16 | 0x7f800000 | (uint32_t)(bits & 0x3ff) << 13);
    return widen(bits, 5, 10);
}

float ecd_from_bf16(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

float ecd_from_e4m3(uint8_t bits)
{
    if ((bits & 0x7f) == 0x7f)
        return float_of(bits & 0x80 ? 0xfff00000 : 0x7ff00000);
    return widen(bits, 4, 3);
}

float ecd_from_e5m2(uint8_t bits)
{
    return ecd_from_f16((uint16_t)(bits << 8));
}

uint16_t ecd_to_f16(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x47800000) // 2^16 and above
        return (uint16_t)(sign | 0x7c00);
    uint32_t narrowed = narrow(float_of(magnitude), 5, 10);
    return (uint16_t)(sign | (narrowed > 0x7c00 ? 0x7c00 : narrowed));
}

uint16_t ecd_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return 0xffff; // what torch's vector code gives for any NaN
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint8_t ecd_to_e4m3(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 24 & 0x80, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint8_t)(sign | 0x7f);
    if (magnitude >= 0x43e00000) // 448 and above, infinities
        return (uint8_t)(sign | 0x7e);
    return (uint8_t)(sign | narrow(float_of(magnitude), 4, 3));
}

uint8_t ecd_to_e5m2(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 24 & 0x80, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint8_t)(sign | 0x7f);
    if (magnitude >= 0x47800000)
        return (uint8_t)(sign | 0x7c);
    return (uint8_t)(sign | narrow(float_of(magnitude), 5, 2));
}

uint8_t ecd_to_e4m3_saturating(float value)
{
    return ecd_to_e4m3(value);
}

static void halves_to_f32(const uint8_t *in, float *out, size_t count, float (*convert)(uint16_t))
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        out[i] = convert(bits);
    }
}

void ecd_to_f32(ecd_dtype dtype, const void *in, float *out, size_t count)
{
    const uint8_t *bytes = in;
    switch (dtype) {
    case ECD_F32:
        memcpy(out, in, count * sizeof *out);
        break;
    case ECD_F16:
        halves_to_f32(bytes, out, count, ecd_from_f16);
        break;
    case ECD_BF16:
        halves_to_f32(bytes, out, count, ecd_from_bf16);
        break;
    case ECD_E4M3:
        for (size_t i = 0; i < count; i++)
            out[i] = ecd_from_e4m3(bytes[i]);
        break;
    case ECD_E5M2:
        for (size_t i = 0; i < count; i++)
            out[i] = ecd_from_e5m2(bytes[i]);
        break;
    default: // not computable: callers check the type first
        memset(out, 0, count * sizeof *out);
    }
}
