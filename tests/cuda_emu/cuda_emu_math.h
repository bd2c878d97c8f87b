// CUDA's integer and floating-point intrinsics, atomics and cached loads. Included by cuda_emu.h.
#ifndef ECD_CUDA_EMU_MATH_H
#define ECD_CUDA_EMU_MATH_H

template <class A, class B> static inline typename std::common_type<A, B>::type min(A a, B b)
{
    const typename std::common_type<A, B>::type x = a, y = b;
    return std::is_floating_point<decltype(x)>::value ? (y != y || x < y ? x : y) : (y < x ? y : x);
}
template <class A, class B> static inline typename std::common_type<A, B>::type max(A a, B b)
{
    const typename std::common_type<A, B>::type x = a, y = b;
    return std::is_floating_point<decltype(x)>::value ? (y != y || x > y ? x : y) : (x < y ? y : x);
}

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __brev(unsigned x)
{
    unsigned r = 0;
    for (int i = 0; i < 32; i++)
        r |= (x >> i & 1) << (31 - i);
    return r;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n)
{
    return (unsigned)(((unsigned long long)hi << 32 | lo) << (n & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n)
{
    return (unsigned)(((unsigned long long)hi << 32 | lo) >> (n & 31));
}
static inline unsigned __funnelshift_lc(unsigned lo, unsigned hi, unsigned n)
{
    return n >= 32 ? lo : __funnelshift_l(lo, hi, n);
}
static inline unsigned __funnelshift_rc(unsigned lo, unsigned hi, unsigned n)
{
    return n >= 32 ? hi : __funnelshift_r(lo, hi, n);
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector)
{
    const unsigned long long both = (unsigned long long)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned s = selector >> (4 * i) & 15, byte = (unsigned)(both >> ((s & 7) * 8)) & 255;
        r |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * i);
    }
    return r;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 4; i++)
        c += (a >> (8 * i) & 255) * (b >> (8 * i) & 255);
    return c;
}
static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 4; i++)
        c += (int)(signed char)(a >> (8 * i)) * (int)(signed char)(b >> (8 * i));
    return c;
}

// ---------------------------------------------------------------- floating point

static inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return emu_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
static inline float __int_as_float(int x) { return emu_bits<float>(x); }
static inline float rsqrtf(float x) { return (float)(1.0 / std::sqrt((double)x)); }
static inline float __frsqrt_rn(float x) { return rsqrtf(x); }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return std::sqrt(a); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static inline float emu_expf(float x) { return (float)std::exp((double)x); }
static inline float emu_exp2f(float x) { return (float)std::exp2((double)x); }
static inline float emu_logf(float x) { return (float)std::log((double)x); }
static inline float emu_sinf(float x) { return (float)std::sin((double)x); }
static inline float emu_cosf(float x) { return (float)std::cos((double)x); }
static inline float emu_powf(float x, float y) { return (float)std::pow((double)x, (double)y); }
// The C library has these names for itself.
#define __expf emu_expf
#define __exp2f emu_exp2f
#define __logf emu_logf
#define __sinf emu_sinf
#define __cosf emu_cosf
#define __powf emu_powf
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
static inline int __float2int_rn(float x) { return (int)std::nearbyint(x); }
static inline int __float2int_rd(float x) { return (int)std::floor(x); }
static inline int __float2int_rz(float x) { return (int)x; }
static inline unsigned __float2uint_rn(float x) { return x > 0 ? (unsigned)std::nearbyint(x) : 0; }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }

// ---------------------------------------------------------------- memory

template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T __ldcs(const T *p) { return *p; }
template <class T> static inline T __ldcg(const T *p) { return *p; }
template <class T> static inline T __ldca(const T *p) { return *p; }
template <class T> static inline void __stcs(T *p, T value) { *p = value; }
template <class T> static inline void __stcg(T *p, T value) { *p = value; }
template <class T> static inline void __stwt(T *p, T value) { *p = value; }
[[noreturn]] static inline void __trap() { emu_fail("__trap"); }

// Threads take turns only where they meet, so an atomic is a plain exchange; emu_access knows that it is one.
#define EMU_ATOMIC_OP(name, expression)                                                                                \
    template <class T> EMU_PLAIN static inline T name(T *p, typename std::common_type<T>::type value)                  \
    {                                                                                                                  \
        emu_access(p, sizeof *p, EMU_ATOMIC | EMU_ALIGNED);                                                            \
        const T old = *p;                                                                                              \
        *p = (expression);                                                                                             \
        return old;                                                                                                    \
    }
EMU_ATOMIC_OP(atomicAdd, old + value)
EMU_ATOMIC_OP(atomicSub, old - value)
EMU_ATOMIC_OP(atomicExch, value)
EMU_ATOMIC_OP(atomicMax, old < value ? value : old)
EMU_ATOMIC_OP(atomicMin, value < old ? value : old)
EMU_ATOMIC_OP(atomicOr, old | value)
EMU_ATOMIC_OP(atomicAnd, old &value)
EMU_ATOMIC_OP(atomicXor, old ^ value)
template <class T>
EMU_PLAIN static inline T atomicCAS(T *p, typename std::common_type<T>::type compare, typename std::common_type<T>::type value)
{
    emu_access(p, sizeof *p, EMU_ATOMIC | EMU_ALIGNED);
    const T old = *p;
    if (old == compare)
        *p = value;
    return old;
}

#endif
