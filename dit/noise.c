#include "dit/noise.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

// torch draws sixteen or more normals in blocks of sixteen: eight radii and eight angles of a Box-Muller transform,
// with the logarithm and the sine and cosine of the Cephes library in float. Its AVX2 build is what nearly everyone
// runs, and there the compiler fuses multiplications into the additions that follow. fmaf below stands where that
// happens, so every machine gets those bits.
enum { BLOCK = 16, HALF = 8, STATE = 624, SHIFT = 397 };

void ecd_generator_seed(ecd_generator *generator, uint64_t seed)
{
    uint32_t *state = generator->state;
    state[0] = (uint32_t)seed; // at::mt19937 takes the low half alone
    for (uint32_t i = 1; i < STATE; i++)
        state[i] = 1812433253u * (state[i - 1] ^ state[i - 1] >> 30) + i;
    generator->next = STATE;
    generator->cached_normal = 0;
    generator->has_cached = 0;
}

static void twist(uint32_t *state)
{
    for (int i = 0; i < STATE; i++) {
        uint32_t y = (state[i] & 0x80000000u) | (state[(i + 1) % STATE] & 0x7fffffffu);
        state[i] = state[(i + SHIFT) % STATE] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
}

static uint32_t draw32(ecd_generator *generator)
{
    if (generator->next == STATE) {
        twist(generator->state);
        generator->next = 0;
    }
    uint32_t y = generator->state[generator->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

// Uniform in [0, 1): as many random bits as the type's mantissa holds.
static float uniform_float(ecd_generator *generator)
{
    return (float)(draw32(generator) & 0xffffff) * 0x1p-24f;
}

static double uniform_double(ecd_generator *generator)
{
    uint64_t high = draw32(generator);
    uint64_t bits = high << 32 | draw32(generator);
    return (double)(bits & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

// ln(x) for x in (0, 1], by the polynomial of Cephes' logf.
static float log_cephes(float x)
{
    static const float terms[] = {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                                  -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    float exponent = (float)((int)(bits >> 23) - 126);
    bits = (bits & 0x807fffffu) | 0x3f000000u; // the mantissa, as a number in [0.5, 1)
    memcpy(&x, &bits, sizeof x);
    if (x < 0.707106781186547524f) {
        exponent -= 1;
        x = (x - 1) + x; // in this order
    } else {
        x -= 1;
    }
    float square = x * x, y = 7.0376836292e-2f;
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++)
        y = fmaf(y, x, terms[i]);
    y = fmaf(y * x, square, exponent * -2.12194440e-4f);
    y = fmaf(square, -0.5f, y);
    return fmaf(exponent, 0.693359375f, x + y);
}

// Sine and cosine of x >= 0, by the polynomials of Cephes' sinf and cosf on the octant's rest.
static void sincos_cephes(float x, float *sine, float *cosine)
{
    int octant = ((int)(x * 1.27323954473516f) + 1) & ~1;
    float y = (float)octant;
    x = fmaf(y, -0.78515625f, x); // pi / 4 in three parts
    x = fmaf(y, -2.4187564849853515625e-4f, x);
    x = fmaf(y, -3.77489497744594108e-8f, x);
    float square = x * x;

    float c = fmaf(2.443315711809948e-5f, square, -1.388731625493765e-3f);
    c = fmaf(c, square, 4.166664568298827e-2f) * square;
    c = fmaf(c, square, -(square * 0.5f)) + 1;
    float s = fmaf(-1.9515295891e-4f, square, 8.3321608736e-3f);
    s = fmaf(s, square, -1.6666654611e-1f) * square;
    s = fmaf(s, x, x);

    bool swap = octant & 2;
    float out_sine = swap ? c : s, out_cosine = swap ? s : c;
    *sine = octant & 4 ? -out_sine : out_sine;
    *cosine = (octant - 2) & 4 ? out_cosine : -out_cosine;
}

// data: sixteen uniform numbers in, sixteen normals out.
static void normal_block(float *data)
{
    for (int i = 0; i < HALF; i++) {
        float radius = sqrtf(-2 * log_cephes(1 - data[i]));
        float sine, cosine;
        sincos_cephes(6.28318530717958647692f * data[i + HALF], &sine, &cosine);
        data[i] = radius * cosine + 0.0f; // adding the mean turns -0 into 0
        data[i + HALF] = radius * sine + 0.0f;
    }
}

// Fewer than sixteen are drawn one by one in double; the second of each pair waits in the generator.
static float normal_single(ecd_generator *generator)
{
    if (generator->has_cached) {
        generator->has_cached = 0;
        return (float)generator->cached_normal;
    }
    double angle = 2 * 3.14159265358979323846 * uniform_double(generator);
    double radius = sqrt(-2 * log1p(-uniform_double(generator)));
    generator->cached_normal = radius * sin(angle);
    generator->has_cached = 1;
    return (float)(radius * cos(angle));
}

void ecd_generator_normal(ecd_generator *generator, float *out, size_t count)
{
    if (count < BLOCK) {
        for (size_t i = 0; i < count; i++)
            out[i] = normal_single(generator);
        return;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = uniform_float(generator);
    for (size_t i = 0; i + BLOCK <= count; i += BLOCK)
        normal_block(out + i);
    if (count % BLOCK) { // the last sixteen are drawn anew, over normals that are already there
        float *last = out + count - BLOCK;
        for (int i = 0; i < BLOCK; i++)
            last[i] = uniform_float(generator);
        normal_block(last);
    }
}
