// CUDA's vector and small floating-point types, in C++. Names, members and rounding as in the CUDA headers of the same types.
#ifndef ECD_CUDA_EMU_TYPES_H
#define ECD_CUDA_EMU_TYPES_H

#include <cmath>
#include <cstdint>
#include <cstring>

#define EMU_VECTOR(type, name, align2, align4)                                                                         \
    struct name##1 {                                                                                                   \
        type x;                                                                                                        \
    };                                                                                                                 \
    struct alignas(align2) name##2 {                                                                                   \
        type x, y;                                                                                                     \
    };                                                                                                                 \
    struct name##3 {                                                                                                   \
        type x, y, z;                                                                                                  \
    };                                                                                                                 \
    struct alignas(align4) name##4 {                                                                                   \
        type x, y, z, w;                                                                                               \
    };                                                                                                                 \
    static inline name##2 make_##name##2(type x, type y)                                                               \
    {                                                                                                                  \
        return {x, y};                                                                                                 \
    }                                                                                                                  \
    static inline name##3 make_##name##3(type x, type y, type z)                                                       \
    {                                                                                                                  \
        return {x, y, z};                                                                                              \
    }                                                                                                                  \
    static inline name##4 make_##name##4(type x, type y, type z, type w)                                               \
    {                                                                                                                  \
        return {x, y, z, w};                                                                                           \
    }
EMU_VECTOR(signed char, char, 2, 4)
EMU_VECTOR(unsigned char, uchar, 2, 4)
EMU_VECTOR(short, short, 4, 8)
EMU_VECTOR(unsigned short, ushort, 4, 8)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(unsigned, uint, 8, 16)
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(long long, longlong, 16, 16)
EMU_VECTOR(unsigned long long, ulonglong, 16, 16)
EMU_VECTOR(double, double, 16, 16)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// ---------------------------------------------------------------- bits of floating-point numbers

template <class To, class From> static inline To emu_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "the same size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// To a format of `exponent` and `mantissa` bits, to nearest even; `top` is the largest finite number's bits. Above it:
// that number if `saturate`, else `beyond` (infinity, or NaN where there is none).
static inline uint32_t emu_round(float x, int exponent, int mantissa, uint32_t top, uint32_t beyond, uint32_t nan,
                                 bool saturate)
{
    const uint32_t bits = emu_bits<uint32_t>(x), sign = bits >> 31 << (exponent + mantissa);
    if (x != x)
        return sign | nan;
    const int bias = (1 << (exponent - 1)) - 1;
    const double a = std::fabs((double)x);
    if (a == 0)
        return sign;
    int e = std::ilogb(a) < 1 - bias ? 1 - bias : std::isinf(a) ? 200 : std::ilogb(a);
    if (e > bias + 2)
        return sign | (saturate ? top : beyond);
    const double scaled = std::nearbyint(std::ldexp(a, mantissa - e)); // nearest even is the default mode
    const uint32_t magnitude = (uint32_t)(e + bias - 1) * (UINT32_C(1) << mantissa) + (uint32_t)scaled;
    return sign | (magnitude > top ? saturate ? top : beyond : magnitude);
}

static inline float emu_widen(uint32_t bits, int exponent, int mantissa, bool has_infinity)
{
    const int bias = (1 << (exponent - 1)) - 1;
    const uint32_t e = bits >> mantissa & ((1u << exponent) - 1), m = bits & ((1u << mantissa) - 1);
    const float sign = bits >> (exponent + mantissa) & 1 ? -1.0f : 1.0f;
    if (e == (1u << exponent) - 1 && (has_infinity || m == (1u << mantissa) - 1))
        return m ? std::copysign(NAN, sign) : sign * INFINITY;
    const double x = e ? std::ldexp(1.0 + std::ldexp((double)m, -mantissa), (int)e - bias)
                       : std::ldexp((double)m, 1 - bias - mantissa);
    return sign * (float)x;
}

struct __nv_bfloat16 {
    unsigned short __x;
    __nv_bfloat16() = default;
    __nv_bfloat16(float f)
    {
        const uint32_t b = emu_bits<uint32_t>(f);
        __x = f != f ? 0x7fff : (unsigned short)((b + 0x7fff + (b >> 16 & 1)) >> 16);
    }
    operator float() const { return emu_bits<float>((uint32_t)__x << 16); }
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
struct __half {
    unsigned short __x;
    __half() = default;
    __half(float f) : __x((unsigned short)emu_round(f, 5, 10, 0x7bff, 0x7c00, 0x7fff, false)) {}
    operator float() const { return emu_widen(__x, 5, 10, true); }
};
struct alignas(4) __half2 {
    __half x, y;
};
struct __nv_fp8_e4m3 {
    unsigned char __x;
    __nv_fp8_e4m3() = default;
    explicit __nv_fp8_e4m3(float f) : __x((unsigned char)emu_round(f, 4, 3, 0x7e, 0x7f, 0x7f, true)) {}
    explicit operator float() const { return emu_widen(__x, 4, 3, false); }
};
struct __nv_fp8_e5m2 {
    unsigned char __x;
    __nv_fp8_e5m2() = default;
    explicit __nv_fp8_e5m2(float f) : __x((unsigned char)emu_round(f, 5, 2, 0x7b, 0x7c, 0x7f, true)) {}
    explicit operator float() const { return emu_widen(__x, 5, 2, true); }
};
typedef __half half;
typedef __half2 half2;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

static inline float __bfloat162float(__nv_bfloat16 x) { return x; }
static inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
static inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
static inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return {v.x, v.y}; }
static inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x) { return emu_bits<__nv_bfloat16>(x); }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.__x; }
static inline float __half2float(__half x) { return x; }
static inline __half __float2half(float x) { return x; }
static inline __half __float2half_rn(float x) { return x; }
static inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
static inline float2 __half22float2(__half2 v) { return {v.x, v.y}; }
static inline __half __ushort_as_half(unsigned short x) { return emu_bits<__half>(x); }
static inline unsigned short __half_as_ushort(__half x) { return x.__x; }

#endif
