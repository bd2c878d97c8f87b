#include "weights/alpha_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLICES = 8, AT_LEAST = 4096, MAGNITUDES = 1 << 15 };

typedef struct knot {
    double at, value;
} knot;

static const knot alpha_of_ratio[] = { // table III
    {2.439, 2.0},  {2.5, 1.916}, {2.6, 1.808}, {2.7, 1.729}, {2.8, 1.664}, {3.0, 1.563},  {3.2, 1.484}, {3.5, 1.391},
    {4.0, 1.279},  {5.0, 1.128}, {6.0, 1.029}, {8.0, 0.896}, {10.0, 0.818}, {15.0, 0.698}, {25.0, 0.593},
};

static const knot width_of_alpha[] = { // table V
    {0.5, 2.588}, {0.6, 2.337}, {0.7, 2.189}, {0.8, 2.098}, {0.9, 2.040}, {1.0, 2.000}, {1.1, 1.980}, {1.2, 1.965},
    {1.3, 1.955}, {1.4, 1.946}, {1.5, 1.939}, {1.6, 1.933}, {1.7, 1.927}, {1.8, 1.921}, {1.9, 1.914}, {2.0, 1.908},
};

static double interpolate(const knot *knots, size_t count, double at)
{
    size_t i = 1;
    while (i + 1 < count && at > knots[i].at)
        i++;
    const knot *a = &knots[i - 1], *b = &knots[i];
    return at <= a->at ? a->value : a->value + (b->value - a->value) * (at - a->at) / (b->at - a->at);
}

static double value_of(ecd_dtype dtype, uint32_t magnitude)
{
    switch (dtype) {
    case ECD_E4M3: return ecd_from_e4m3((uint8_t)magnitude);
    case ECD_E5M2: return ecd_from_e5m2((uint8_t)magnitude);
    case ECD_BF16: return ecd_from_bf16((uint16_t)magnitude);
    default: return ecd_from_f16((uint16_t)magnitude);
    }
}

// The magnitude below which `share` of the weights lie. Those that share a magnitude are taken to lie evenly between
// the middles to its neighbours.
static double quantile(const uint64_t *counts, ecd_dtype dtype, uint64_t total, double share)
{
    double target = share * (double)total, below = 0;
    for (uint32_t m = 0; m < MAGNITUDES; m++) {
        double here = (double)counts[m];
        if (!counts[m] || below + here < target) {
            below += here;
            continue;
        }
        double value = value_of(dtype, m), next = value_of(dtype, m + 1);
        double low = m ? (value + value_of(dtype, m - 1)) / 2 : 0, high = isfinite(next) ? (value + next) / 2 : value;
        return low + (high - low) * (target - below) / here;
    }
    return INFINITY;
}

static bool fit(const uint64_t *counts, ecd_dtype dtype, ecd_alpha_fit *out)
{
    const size_t ratios = sizeof alpha_of_ratio / sizeof *alpha_of_ratio;
    uint64_t total = 0;
    for (uint32_t m = 0; m < MAGNITUDES; m++)
        total += counts[m];
    double half = quantile(counts, dtype, total, 0.5), wide = quantile(counts, dtype, total, 0.9);
    if (!total || !(half > 0) || !isfinite(wide) || wide / half > alpha_of_ratio[ratios - 1].at)
        return false;
    out->alpha = interpolate(alpha_of_ratio, ratios, wide / half);
    out->scale =
        2 * half / interpolate(width_of_alpha, sizeof width_of_alpha / sizeof *width_of_alpha, out->alpha);
    return true;
}

static void count_magnitudes(const uint8_t *elements, uint64_t first, uint64_t end, size_t element, uint64_t *counts)
{
    for (uint64_t i = first; i < end; i++) {
        uint16_t bits = elements[i * element];
        if (element == 2)
            bits = (uint16_t)(bits | elements[2 * i + 1] << 8);
        counts[bits & (element == 2 ? 0x7fff : 0x7f)]++;
    }
}

ecd_status ecd_alpha_fit_of(const uint8_t *elements, uint64_t count, ecd_dtype dtype, ecd_alpha_fit *out,
                            ecd_diag *diag)
{
    *out = (ecd_alpha_fit){0};
    if (count < AT_LEAST || (dtype != ECD_E4M3 && dtype != ECD_E5M2 && dtype != ECD_BF16 && dtype != ECD_F16))
        return ECD_OK;
    uint64_t *counts = calloc(2 * MAGNITUDES, sizeof *counts), *whole = counts + MAGNITUDES;
    double sum = 0, squares = 0;
    bool valid = true;
    if (!counts)
        return ecd_fail_memory(diag, 2 * MAGNITUDES * sizeof *counts, "fitting a law");
    for (uint64_t i = 0; valid && i < SLICES; i++) {
        ecd_alpha_fit slice = {0};
        memset(counts, 0, MAGNITUDES * sizeof *counts);
        count_magnitudes(elements, count / SLICES * i, i + 1 < SLICES ? count / SLICES * (i + 1) : count,
                         ecd_dtype_size(dtype), counts);
        for (uint32_t m = 0; m < MAGNITUDES; m++)
            whole[m] += counts[m];
        valid = fit(counts, dtype, &slice);
        sum += slice.alpha;
        squares += slice.alpha * slice.alpha;
    }
    if (valid && fit(whole, dtype, out)) {
        double spread = (squares - sum * sum / SLICES) / (SLICES - 1);
        out->valid = true;
        out->alpha_error = spread > 0 ? sqrt(spread / SLICES) : 0;
        out->low_bits = out->alpha / (1 + exp2(-out->alpha));
        out->high_bits = out->alpha / (1 - exp2(-out->alpha));
    }
    free(counts);
    return ECD_OK;
}
