#include "weights/alpha_fit.h"

#include <math.h>
#include <stdlib.h>

#include "weights/alpha_internal.h"

enum { AT_LEAST = 4096, CELLS_AT_LEAST = 8, STEPS = 28, DROP_STEPS = 8 };

static const double GOLDEN = 0.6180339887498949;
static const double SHIFT = 1e-3;     // of alpha and of log2 scale, where derivatives are taken
static const double UNLIKELY = 1e-12; // what a law gives no chance still has this one: a stray weight decides nothing

typedef struct search {
    const ecd_alpha_table *table;
    const ecd_alpha_cells *cells;
    ecd_alpha_law law;
    double from, to; // log2 scale lies between
    double at;       // where it was best
} search;

static double chance(const ecd_alpha_law *law, double low, double high)
{
    double p = ecd_alpha_above(law, low) - (isinf(high) ? 0 : ecd_alpha_above(law, high));
    return p > UNLIKELY ? p : UNLIKELY;
}

static double likelihood(search *s, double log2_scale)
{
    double sum = 0;
    for (size_t i = 0; i < s->cells->count; i++) {
        const ecd_alpha_cell *cell = &s->cells->cells[i];
        sum += cell->all * log(chance(&s->law, cell->low - log2_scale, cell->high - log2_scale));
    }
    return sum;
}

// What golden section leaves of [from, to] around a function's maximum, and the function inside.
typedef struct section {
    double from, to, a, b, at_a, at_b;
} section;

static section narrow(search *s, double (*f)(search *, double), double from, double to)
{
    section g = {.from = from, .to = to, .a = to - GOLDEN * (to - from), .b = from + GOLDEN * (to - from)};
    g.at_a = f(s, g.a);
    g.at_b = f(s, g.b);
    for (int i = 0; i < STEPS; i++) {
        if (g.at_a > g.at_b) {
            g.to = g.b;
            g.b = g.a;
            g.at_b = g.at_a;
            g.a = g.to - GOLDEN * (g.to - g.from);
            g.at_a = f(s, g.a);
        } else {
            g.from = g.a;
            g.a = g.b;
            g.at_a = g.at_b;
            g.b = g.from + GOLDEN * (g.to - g.from);
            g.at_b = f(s, g.b);
        }
    }
    return g;
}

// The likelihood of an alpha: that of its best scale.
static double profile(search *s, double alpha)
{
    ecd_alpha_law_at(s->table, alpha, &s->law);
    const section g = narrow(s, likelihood, s->from, s->to);
    s->at = g.at_a > g.at_b ? g.a : g.b;
    return fmax(g.at_a, g.at_b);
}

// log2 of the median, near which every law's scale lies.
static double log2_median(const ecd_alpha_cells *cells, double total)
{
    double below = 0;
    for (size_t i = 0; i < cells->count; i++) {
        const ecd_alpha_cell *cell = &cells->cells[i];
        below += cell->all;
        if (2 * below >= total)
            return isinf(cell->low) ? cell->high : cell->low;
    }
    return 0;
}

static double best_alpha(search *s)
{
    const section g = narrow(s, profile, ECD_ALPHA_LEAST, 2);
    return (g.from + g.to) / 2 > 2 - 2e-5 ? 2 : (g.from + g.to) / 2;
}

// How far from the best alpha the likelihood's logarithm has fallen by 1/2, in one direction.
static double drop(search *s, double alpha, double best, double direction)
{
    double room = direction < 0 ? alpha - ECD_ALPHA_LEAST : 2 - alpha, near = 0, far = 2e-4;
    while (far < room && best - profile(s, alpha + direction * far) < 0.5) {
        near = far;
        far *= 2;
    }
    if (far >= room)
        return direction < 0 ? room : near;
    for (int i = 0; i < DROP_STEPS; i++) {
        double middle = (near + far) / 2;
        if (best - profile(s, alpha + direction * middle) < 0.5)
            near = middle;
        else
            far = middle;
    }
    return (near + far) / 2;
}

// Derivatives of the slices' likelihoods by alpha and by log2 scale, and of their sum.
static void slopes(const search *s, double alpha, double log2_scale, double slices[ECD_ALPHA_SLICES][2], double sum[2])
{
    ecd_alpha_law below, above, here;
    ecd_alpha_law_at(s->table, alpha - SHIFT, &below);
    ecd_alpha_law_at(s->table, alpha + SHIFT, &above);
    ecd_alpha_law_at(s->table, alpha, &here);
    sum[0] = sum[1] = 0;
    for (int k = 0; slices && k < ECD_ALPHA_SLICES; k++)
        slices[k][0] = slices[k][1] = 0;
    for (size_t i = 0; i < s->cells->count; i++) {
        const ecd_alpha_cell *cell = &s->cells->cells[i];
        double low = cell->low - log2_scale, high = cell->high - log2_scale;
        double by[2] = {log(chance(&above, low, high) / chance(&below, low, high)) / (2 * SHIFT),
                        log(chance(&here, low - SHIFT, high - SHIFT) / chance(&here, low + SHIFT, high + SHIFT)) /
                            (2 * SHIFT)};
        for (int d = 0; d < 2; d++) {
            sum[d] += cell->all * by[d];
            for (int k = 0; slices && k < ECD_ALPHA_SLICES; k++)
                slices[k][d] += cell->counts[k] * by[d];
        }
    }
}

// The standard error that the slices' differences show: sqrt of (H^-1 (sum of g g') H^-1) at alpha.
static double sandwich(const search *s, double alpha, double log2_scale)
{
    double slices[ECD_ALPHA_SLICES][2], here[2], left[2], right[2], up[2], down[2], square = 0;
    if (alpha > 2 - 3 * SHIFT) // no room for derivatives
        return 0;
    slopes(s, alpha, log2_scale, slices, here);
    slopes(s, alpha - SHIFT, log2_scale, NULL, left);
    slopes(s, alpha + SHIFT, log2_scale, NULL, right);
    slopes(s, alpha, log2_scale - SHIFT, NULL, down);
    slopes(s, alpha, log2_scale + SHIFT, NULL, up);
    double aa = (right[0] - left[0]) / (2 * SHIFT), uu = (up[1] - down[1]) / (2 * SHIFT);
    double au = (right[1] - left[1] + up[0] - down[0]) / (4 * SHIFT), det = aa * uu - au * au;
    if (!(det > 0))
        return 0;
    for (int k = 0; k < ECD_ALPHA_SLICES; k++) {
        double g[2] = {slices[k][0] - here[0] / ECD_ALPHA_SLICES, slices[k][1] - here[1] / ECD_ALPHA_SLICES};
        double move = (uu * g[0] - au * g[1]) / det;
        square += move * move;
    }
    return sqrt(square * ECD_ALPHA_SLICES / (ECD_ALPHA_SLICES - 1));
}

void ecd_alpha_shares(const ecd_alpha_table *table, double alpha, double scale, ecd_dtype dtype, double shares[256])
{
    ecd_alpha_law law;
    unsigned mantissa = ecd_alpha_mantissa_bits(dtype);
    uint32_t end = ecd_alpha_magnitudes(dtype);
    ecd_alpha_law_at(table, alpha, &law);
    for (uint32_t e = 0; e < 256; e++) {
        uint32_t first = e << mantissa, next = (e + 1) << mantissa;
        shares[e] = 0;
        if (first >= end)
            continue;
        double low = ecd_alpha_above(&law, log2(ecd_alpha_edge(dtype, first) / scale));
        double high = next >= end ? 0 : ecd_alpha_above(&law, log2(ecd_alpha_edge(dtype, next) / scale));
        shares[e] = low > high ? low - high : 0;
    }
}

// How the law's exponents compare with those that are there.
static void compare(const ecd_alpha_table *table, const ecd_alpha_counts *counts, double total, ecd_alpha_fit *fit)
{
    double shares[256];
    unsigned mantissa = ecd_alpha_mantissa_bits(counts->dtype);
    ecd_alpha_shares(table, fit->alpha, fit->scale, counts->dtype, shares);
    for (uint32_t e = 0; e < 256; e++) {
        uint64_t here = 0;
        for (uint32_t m = e << mantissa; m < (e + 1) << mantissa && m < ECD_ALPHA_MAGNITUDES; m++)
            for (int s = 0; s < ECD_ALPHA_SLICES; s++)
                here += counts->magnitudes[s][m];
        fit->misfit += fabs(shares[e] - (double)here / total) / 2;
        fit->law_bits -= shares[e] > 0 ? shares[e] * log2(shares[e]) : 0;
    }
}

static void fit_cells(search *s, ecd_alpha_fit *out)
{
    double alpha = best_alpha(s), best = profile(s, alpha), log2_scale = s->at;
    out->alpha = alpha;
    out->scale = exp2(log2_scale);
    out->valid = alpha > ECD_ALPHA_LEAST + 1e-3;
    out->low_bits = alpha / (1 + exp2(-alpha));
    out->high_bits = alpha / (1 - exp2(-alpha));
    if (!out->valid)
        return;
    double counted = fmax(drop(s, alpha, best, -1), alpha < 2 ? drop(s, alpha, best, 1) : 0);
    out->alpha_error = fmax(counted, sandwich(s, alpha, log2_scale));
}

ecd_status ecd_alpha_fit_of(const ecd_alpha_table *table, const ecd_alpha_counts *counts, bool scaled,
                            ecd_alpha_fit *out, ecd_diag *diag)
{
    ecd_alpha_cells cells;
    double total = 0;
    *out = (ecd_alpha_fit){0};
    ecd_status status = ecd_alpha_cells_new(counts, scaled, &cells, diag);
    for (size_t i = 0; !status && i < cells.count; i++)
        total += cells.cells[i].all;
    bool sparse = !status && cells.count && isinf(cells.cells[0].low) && 2 * cells.cells[0].all > total;
    if (!status && !sparse && total >= AT_LEAST && cells.count >= CELLS_AT_LEAST) {
        search s = {.table = table, .cells = &cells};
        double median = log2_median(&cells, total);
        s.from = median - 2.5; // a law's median is 0.7 to 1.1 scales
        s.to = median + 2.5;
        fit_cells(&s, out);
        if (out->valid && !scaled)
            compare(table, counts, total, out);
    }
    free(cells.cells);
    return status;
}
