// Weights like those of trained models: Student's t with 5 degrees of freedom (its exponents' entropy in E4M3 with a
// scale a row is close to that of the models in arXiv 2510.02676), times a deviation that differs from row to row.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/synthetic_internal.h"

// |t| by its probability: a table of STEPS pieces, and a second one that divides the first's last piece, where the tail
// is.
enum { STEP_BITS = 12, STEPS = 1 << STEP_BITS };

struct ecd_synthetic_table {
    float body[STEPS + 1], tail[STEPS + 1];
};

static const double HALF_PI = 1.57079632679489661923;
static const float ROW_SPREAD = 0.3F;     // of the logarithm of a row's deviation
static const float VECTOR_SPREAD = 0.02F; // of biases, and of a norm's weights around 1

// P(|t| < x) of 5 degrees of freedom, x = sqrt(5) tan(angle).
static double probability(double angle)
{
    double s = sin(angle), c = cos(angle);
    return (angle + s * c * (1 + 2.0 / 3 * c * c)) / HALF_PI;
}

static float quantile(double p)
{
    double low = 0, high = HALF_PI;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        *(probability(middle) < p ? &low : &high) = middle;
    }
    return (float)(sqrt(5.0) * tan(low) / sqrt(5.0 / 3)); // of deviation 1
}

ecd_synthetic_table *ecd_synthetic_table_new(void)
{
    ecd_synthetic_table *table = malloc(sizeof *table);
    for (int i = 0; table && i <= STEPS; i++) {
        double last = 1 - 1.0 / STEPS, p = (double)i / STEPS;
        table->body[i] = quantile(p < last ? p : last);
        table->tail[i] = quantile(last + (i < STEPS ? p : 1 - 0.25 / STEPS) / STEPS); // the end is not infinite
    }
    return table;
}

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

// xoshiro256++ (Blackman and Vigna).
static inline uint64_t next_bits(uint64_t s[4])
{
    const uint64_t result = rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

// A sign, the piece of the table, and the place within it.
static inline float draw(const ecd_synthetic_table *table, uint32_t bits)
{
    const float *at = table->body + (bits >> 1) % STEPS;
    float place = (float)(bits >> (1 + STEP_BITS)) * (1.0F / (1 << (31 - STEP_BITS)));
    if (at == table->body + STEPS - 1) {
        float fine = place * STEPS;
        at = table->tail + (int)fine;
        place = fine - (float)(int)fine;
    }
    float value = at[0] + place * (at[1] - at[0]);
    return bits & 1 ? -value : value;
}

static uint64_t hash(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); // FNV-1a
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return h;
}

void ecd_synthetic_draw_begin(ecd_synthetic_draw *d, const ecd_synthetic_table *table, const ecd_synthetic_tensor *t)
{
    uint64_t z = hash(t->name + t->shared);
    *d = (ecd_synthetic_draw){.table = table, .cols = (int64_t)ecd_synthetic_elements(t), .gain = VECTOR_SPREAD};
    for (int i = 0; i < 4; i++) { // splitmix64
        z += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t y = z;
        y = (y ^ (y >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        y = (y ^ (y >> 27)) * UINT64_C(0x94d049bb133111eb);
        d->state[i] = y ^ (y >> 31);
    }
    if (t->dims > 1) {
        d->cols /= t->shape[0];
        d->gain = t->gain / sqrtf((float)d->cols);
    } else if (!strcmp(t->name + strlen(t->name) - strlen("weight"), "weight")) {
        d->centre = 1;
    }
}

void ecd_synthetic_draw_take(ecd_synthetic_draw *d, float *out, size_t count)
{
    while (count) {
        if (!d->left) {
            d->left = d->cols;
            d->scale = d->gain * expf(ROW_SPREAD * draw(d->table, (uint32_t)next_bits(d->state)));
        }
        size_t row = (size_t)d->left < count ? (size_t)d->left : count;
        for (size_t i = 0; i < row; i++)
            out[i] = d->centre + d->scale * draw(d->table, (uint32_t)(next_bits(d->state) >> 32));
        d->left -= (int64_t)row;
        out += row;
        count -= row;
    }
}
