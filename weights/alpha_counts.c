// Counting, and the cells that a fit sees.
#include <math.h>
#include <stdlib.h>

#include "weights/alpha_internal.h"

unsigned ecd_alpha_mantissa_bits(ecd_dtype dtype)
{
    return dtype == ECD_E4M3 ? 3 : dtype == ECD_E5M2 ? 2 : dtype == ECD_BF16 ? 7 : 10;
}

double ecd_alpha_value(ecd_dtype dtype, uint32_t magnitude)
{
    switch (dtype) {
    case ECD_E4M3: return ecd_from_e4m3((uint8_t)magnitude);
    case ECD_E5M2: return ecd_from_e5m2((uint8_t)magnitude);
    case ECD_BF16: return ecd_from_bf16((uint16_t)magnitude);
    default: return ecd_from_f16((uint16_t)magnitude);
    }
}

uint32_t ecd_alpha_magnitudes(ecd_dtype dtype)
{
    uint32_t count = ecd_dtype_size(dtype) == 1 ? ECD_ALPHA_FP8 : ECD_ALPHA_MAGNITUDES;
    while (!isfinite(ecd_alpha_value(dtype, count - 1)))
        count--;
    return count;
}

double ecd_alpha_edge(ecd_dtype dtype, uint32_t magnitude)
{
    if (!magnitude)
        return 0;
    if (magnitude >= ecd_alpha_magnitudes(dtype)) // what lies beyond is rounded down to the largest
        return INFINITY;
    return (ecd_alpha_value(dtype, magnitude) + ecd_alpha_value(dtype, magnitude - 1)) / 2;
}

ecd_status ecd_alpha_counts_new(ecd_dtype dtype, uint64_t total, bool scaled, ecd_alpha_counts **out, ecd_diag *diag)
{
    ecd_alpha_counts *counts = calloc(1, sizeof *counts);
    *out = NULL;
    if (counts && scaled)
        counts->scaled = calloc(ECD_ALPHA_SLICES, sizeof *counts->scaled);
    if (!counts || (scaled && !counts->scaled)) {
        free(counts);
        return ecd_fail_memory(diag, sizeof *counts + ECD_ALPHA_SLICES * sizeof *counts->scaled, "counting weights");
    }
    counts->dtype = dtype;
    counts->total = total;
    *out = counts;
    return ECD_OK;
}

void ecd_alpha_counts_free(ecd_alpha_counts *counts)
{
    if (counts)
        free(counts->scaled);
    free(counts);
}

static unsigned scale_class(double scale)
{
    double at = (log2(scale) + 48) * 32;
    return !(at > 0) ? 0 : at >= ECD_ALPHA_SCALES ? ECD_ALPHA_SCALES - 1 : (unsigned)at;
}

static void count_slice(ecd_alpha_counts *counts, unsigned slice, const uint8_t *elements, uint64_t n,
                        uint64_t *scaled)
{
    uint64_t *magnitudes = counts->magnitudes[slice];
    if (ecd_dtype_size(counts->dtype) == 2) {
        for (uint64_t i = 0; i < n; i++) {
            counts->high_bytes[elements[2 * i + 1]]++;
            magnitudes[elements[2 * i] | (elements[2 * i + 1] & 0x7f) << 8]++;
        }
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        counts->high_bytes[elements[i]]++;
        magnitudes[elements[i] & 0x7f]++;
    }
    for (uint64_t i = 0; scaled && i < n; i++)
        scaled[elements[i] & 0x7f]++;
}

void ecd_alpha_count(ecd_alpha_counts *counts, const uint8_t *elements, uint64_t first, uint64_t n, double scale)
{
    uint64_t slice_weights = counts->total / ECD_ALPHA_SLICES + 1, end = first + n;
    while (first < end) {
        uint64_t slice = first / slice_weights, stop = (slice + 1) * slice_weights;
        if (slice >= ECD_ALPHA_SLICES)
            return;
        stop = stop < end ? stop : end;
        count_slice(counts, (unsigned)slice, elements, stop - first,
                    counts->scaled ? counts->scaled[slice][scale_class(scale)] : NULL);
        elements += (stop - first) * ecd_dtype_size(counts->dtype);
        first = stop;
    }
}

// The cells of one exponent's eighths: magnitudes that share all but the mantissa's lower bits.
static void make_stored(const ecd_alpha_counts *counts, ecd_alpha_cells *cells)
{
    unsigned mantissa = ecd_alpha_mantissa_bits(counts->dtype), drop = mantissa > 3 ? mantissa - 3 : 0;
    uint32_t end = ecd_alpha_magnitudes(counts->dtype);
    for (uint32_t m = 0; m < end; m += 1u << drop) {
        uint32_t next = m + (1u << drop) < end ? m + (1u << drop) : end;
        ecd_alpha_cell cell = {.low = log2(ecd_alpha_edge(counts->dtype, m)),
                               .high = log2(ecd_alpha_edge(counts->dtype, next))};
        for (int s = 0; s < ECD_ALPHA_SLICES; s++) {
            for (uint32_t i = m; i < next; i++)
                cell.counts[s] += (double)counts->magnitudes[s][i];
            cell.all += cell.counts[s];
        }
        if (cell.all > 0)
            cells->cells[cells->count++] = cell;
    }
}

enum { GRID_LOWEST = -64, GRID_OCTAVES = 96, GRID = GRID_OCTAVES * 8 };

static double grid_edge(int i)
{
    return i <= 0 ? 0 : exp2(GRID_LOWEST + i / 8.0);
}

// Spreads a count evenly over the magnitudes from low to high.
static void spread(double *grid, double low, double high, double count)
{
    int i = low > 0 ? (int)floor((log2(low) - GRID_LOWEST) * 8) : 0;
    double each = count / (high - low);
    i = i < 0 ? 0 : i >= GRID ? GRID - 1 : i;
    if (!(low > 0)) // from zero on, the many small cells take less than those who count could see
        i = (int)fmax(0, floor((log2(high) - GRID_LOWEST) * 8) - 48);
    for (double from = low; from < high && i < GRID; i++) {
        double to = i + 1 < GRID ? fmin(grid_edge(i + 1), high) : high;
        if (to > from) {
            grid[i] += each * (to - from);
            from = to;
        }
    }
}

static void make_scaled(const ecd_alpha_counts *counts, double *grid, ecd_alpha_cells *cells)
{
    uint32_t end = ecd_alpha_magnitudes(counts->dtype);
    for (int s = 0; s < ECD_ALPHA_SLICES; s++)
        for (int c = 0; c < ECD_ALPHA_SCALES; c++)
            for (uint32_t m = 0; m < end; m++) {
                uint64_t count = counts->scaled[s][c][m];
                double scale = exp2((c + 0.5) / 32 - 48), top = ecd_alpha_value(counts->dtype, m);
                if (!count)
                    continue;
                top = m + 1 < end ? ecd_alpha_edge(counts->dtype, m + 1)
                                  : 2 * top - ecd_alpha_edge(counts->dtype, m); // the largest of its row: no tail here
                spread(grid + (size_t)s * GRID, scale * ecd_alpha_edge(counts->dtype, m), scale * top, (double)count);
            }
    for (int i = 0; i < GRID; i++) {
        ecd_alpha_cell cell = {.low = log2(grid_edge(i)), .high = i + 1 < GRID ? log2(grid_edge(i + 1)) : INFINITY};
        for (int s = 0; s < ECD_ALPHA_SLICES; s++)
            cell.all += cell.counts[s] = grid[(size_t)s * GRID + (size_t)i];
        if (cell.all > 0)
            cells->cells[cells->count++] = cell;
    }
}

ecd_status ecd_alpha_cells_new(const ecd_alpha_counts *counts, bool scaled, ecd_alpha_cells *out, ecd_diag *diag)
{
    const size_t most = ECD_ALPHA_MAGNITUDES / 8; // of BF16: 256 exponents' eighths, F16 has fewer
    double *grid = scaled ? calloc((size_t)ECD_ALPHA_SLICES * GRID, sizeof *grid) : NULL;
    *out = (ecd_alpha_cells){.cells = malloc(most * sizeof *out->cells)};
    ecd_status status = ECD_OK;
    if (!out->cells || (scaled && !grid))
        status = ecd_fail_memory(diag, most * sizeof *out->cells, "the cells of a fit");
    else if (scaled)
        make_scaled(counts, grid, out);
    else
        make_stored(counts, out);
    free(grid);
    return status;
}
