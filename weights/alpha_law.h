// Symmetric alpha-stable laws: how likely a magnitude is.
//
// Source: J. P. Nolan, "Numerical calculation of stable densities and distribution functions", Communications in
// Statistics - Stochastic Models 13 (1997), theorem 1 at beta = 0 (Zolotarev's integral), integrated by the
// tanh-sinh rule. alpha 1 is Cauchy's law, alpha 2 a normal law of variance 2 scale^2.
#ifndef ECD_WEIGHTS_ALPHA_LAW_H
#define ECD_WEIGHTS_ALPHA_LAW_H

#include "base/status.h"

#define ECD_ALPHA_LEAST 0.6 // laws with heavier tails than this are not tabulated

enum {
    ECD_ALPHA_LAWS = 29,       // 0.60, 0.65, .. 2.00
    ECD_ALPHA_EIGHTHS = 8,     // points of an octave
    ECD_ALPHA_LOWEST = -8,     // log2 of the first point, in units of the scale
    ECD_ALPHA_POINTS = 20 * ECD_ALPHA_EIGHTHS + 1, // the last at 2^12
};

// One law: P(|X| > 2^(ECD_ALPHA_LOWEST + i / 8) * scale).
typedef struct ecd_alpha_law {
    double alpha;
    double above[ECD_ALPHA_POINTS];
} ecd_alpha_law;

// The table that laws are interpolated in. Filled once (about 10 ms), then only read: any threads share it.
typedef struct ecd_alpha_table {
    ecd_alpha_law laws[ECD_ALPHA_LAWS];
} ecd_alpha_table;

ecd_status ecd_alpha_table_new(ecd_alpha_table **out, ecd_diag *diag); // ECD_RESOURCE when memory is out
void ecd_alpha_table_free(ecd_alpha_table *table);                     // NULL is allowed

// The law of `alpha`, ECD_ALPHA_LEAST to 2: within 1e-5 of the integral.
void ecd_alpha_law_at(const ecd_alpha_table *table, double alpha, ecd_alpha_law *out);

// P(|X| > x) for x = 2^log2_x in units of the scale; -INFINITY and INFINITY are allowed.
double ecd_alpha_above(const ecd_alpha_law *law, double log2_x);

#endif
