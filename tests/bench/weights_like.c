#include "tests/bench/weights_like.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SCALE_BLOCK = 128 };

static const double PI = 3.14159265358979323846;

// xoshiro256** (Blackman and Vigna), seeded by splitmix64.
typedef struct source {
    uint64_t s[4];
    double spare; // Box-Muller gives two
    bool has_spare;
} source;

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t next_bits(source *src)
{
    uint64_t *s = src->s;
    const uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static source make_source(void)
{
    source src = {0};
    uint64_t z = UINT64_C(0x9E3779B97F4A7C15);
    for (int i = 0; i < 4; i++) {
        z += UINT64_C(0x9E3779B97F4A7C15);
        uint64_t y = z;
        y = (y ^ (y >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        y = (y ^ (y >> 27)) * UINT64_C(0x94D049BB133111EB);
        src.s[i] = y ^ (y >> 31);
    }
    return src;
}

// Between 0 and 1, neither included.
static double uniform(source *src)
{
    return ((double)(next_bits(src) >> 11) + 0.5) * 0x1p-53;
}

static double gauss(source *src)
{
    if (src->has_spare) {
        src->has_spare = false;
        return src->spare;
    }
    const double r = sqrt(-2 * log(uniform(src))), a = 2 * PI * uniform(src);
    src->spare = r * cos(a);
    src->has_spare = true;
    return r * sin(a);
}

// Chi-square of 5 degrees: two pairs of Gaussians are an exponential each, the fifth is squared.
static double student5(source *src)
{
    const double z = gauss(src);
    const double chi2 = -2 * log(uniform(src) * uniform(src)) + z * z;
    return gauss(src) / sqrt(chi2 / 5);
}

// Chambers, Mallows and Stuck (1976).
static double stable(source *src, double alpha)
{
    const double v = PI * (uniform(src) - 0.5), w = -log(uniform(src));
    return sin(alpha * v) / pow(cos(v), 1 / alpha) * pow(cos(v - alpha * v) / w, (1 - alpha) / alpha);
}

uint8_t ecf8_bench_e4m3(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint8_t sign = (uint8_t)(bits >> 24 & 0x80);
    bits &= 0x7fffffff;
    if (bits > UINT32_C(0x7f800000))
        return sign | 0x7f;
    if (bits < UINT32_C(0x3c800000)) { // below 2^-6: adding 2^14 leaves multiples of 2^-9, rounded to nearest even
        float a;
        memcpy(&a, &bits, sizeof a);
        a += 16384.0F;
        memcpy(&bits, &a, sizeof bits);
        return (uint8_t)(sign | (bits & 15));
    }
    bits += 0x7ffff + (bits >> 20 & 1);
    const uint32_t w = (bits >> 20) - (120 << 3);
    return (uint8_t)(sign | (w > 0x7e ? 0x7e : w));
}

static double draw(source *src, ecf8_bench_kind kind)
{
    switch (kind) {
    case ECF8_BENCH_T5_BLOCK: return student5(src);
    case ECF8_BENCH_STABLE_BLOCK: return stable(src, 1.8);
    default: return gauss(src);
    }
}

static void make_band(source *src, ecf8_bench_kind kind, float *band)
{
    const bool varied = kind == ECF8_BENCH_ROWS_TENSOR || kind == ECF8_BENCH_ROWS_ROW;
    for (uint64_t r = 0; r < ECF8_BENCH_BAND; r++) {
        const double deviation = varied ? exp(0.5 * gauss(src)) : kind == ECF8_BENCH_RAW_CAST ? 0.02 : 1;
        for (uint64_t c = 0; c < ECF8_BENCH_COLS; c++)
            band[r * ECF8_BENCH_COLS + c] = (float)(draw(src, kind) * deviation);
    }
}

static float highest(const float *band, uint64_t rows, uint64_t cols)
{
    float most = 0;
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            most = fmaxf(most, fabsf(band[r * ECF8_BENCH_COLS + c]));
    return most;
}

static void cast(const float *band, uint64_t rows, uint64_t cols, float scale, uint8_t *out)
{
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            out[r * ECF8_BENCH_COLS + c] = ecf8_bench_e4m3(band[r * ECF8_BENCH_COLS + c] * scale);
}

static void cast_band(const float *band, ecf8_bench_kind kind, float tensor_highest, uint8_t *out)
{
    if (kind == ECF8_BENCH_RAW_CAST || kind == ECF8_BENCH_ROWS_TENSOR) {
        cast(band, ECF8_BENCH_BAND, ECF8_BENCH_COLS, kind == ECF8_BENCH_RAW_CAST ? 1 : 448 / tensor_highest, out);
        return;
    }
    const uint64_t rows = kind == ECF8_BENCH_ROWS_ROW ? 1 : SCALE_BLOCK;
    const uint64_t cols = kind == ECF8_BENCH_ROWS_ROW ? ECF8_BENCH_COLS : SCALE_BLOCK;
    for (uint64_t r = 0; r < ECF8_BENCH_BAND; r += rows)
        for (uint64_t c = 0; c < ECF8_BENCH_COLS; c += cols) {
            const uint64_t at = r * ECF8_BENCH_COLS + c;
            cast(band + at, rows, cols, 448 / highest(band + at, rows, cols), out + at);
        }
}

const char *ecf8_bench_kind_name(ecf8_bench_kind kind)
{
    static const char *const names[ECF8_BENCH_KINDS] = {
        "gauss, 128x128 scales", "t5, 128x128 scales",         "stable 1.8, 128x128 scales",
        "raw cast, sigma 0.02",  "row variance, tensor scale", "row variance, row scales",
    };
    return kind < ECF8_BENCH_KINDS ? names[kind] : "unknown";
}

_Bool ecf8_bench_fill(ecf8_bench_kind kind, uint8_t *out, uint64_t rows)
{
    const uint64_t weights = ECF8_BENCH_BAND * ECF8_BENCH_COLS;
    float *band = malloc(weights * sizeof *band), most = 0;
    if (!band)
        return false;
    source src = make_source();
    if (kind == ECF8_BENCH_ROWS_TENSOR) { // the scale is known only at the end: everything is drawn twice
        for (uint64_t r = 0; r < rows; r += ECF8_BENCH_BAND) {
            make_band(&src, kind, band);
            most = fmaxf(most, highest(band, ECF8_BENCH_BAND, ECF8_BENCH_COLS));
        }
        src = make_source();
    }
    for (uint64_t r = 0; r < rows; r += ECF8_BENCH_BAND) {
        make_band(&src, kind, band);
        cast_band(band, kind, most, out + r * ECF8_BENCH_COLS);
    }
    free(band);
    return true;
}
