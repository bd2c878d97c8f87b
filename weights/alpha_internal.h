// What counting and fitting share. Internal to weights/alpha_*.c.
#ifndef ECD_WEIGHTS_ALPHA_INTERNAL_H
#define ECD_WEIGHTS_ALPHA_INTERNAL_H

#include "weights/alpha_fit.h"

// Magnitudes from 2^low to 2^high, those that occur.
typedef struct ecd_alpha_cell {
    double low, high; // log2; -INFINITY and INFINITY at the ends
    double counts[ECD_ALPHA_SLICES], all;
} ecd_alpha_cell;

typedef struct ecd_alpha_cells {
    ecd_alpha_cell *cells; // owned, ascending
    size_t count;
} ecd_alpha_cells;

double ecd_alpha_value(ecd_dtype dtype, uint32_t magnitude); // its number
uint32_t ecd_alpha_magnitudes(ecd_dtype dtype);              // how many are finite
double ecd_alpha_edge(ecd_dtype dtype, uint32_t magnitude);  // the least number that is rounded to it

// free(out->cells) also after a failure.
ecd_status ecd_alpha_cells_new(const ecd_alpha_counts *counts, bool scaled, ecd_alpha_cells *out, ecd_diag *diag);

#endif
