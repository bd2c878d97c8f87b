// A symmetric alpha-stable law fitted to a tensor's weights, and what it says of their exponents' entropy.
//
// Method: maximum likelihood of the counts that fall into cells (a multinomial law). A cell is what rounds to the same
// exponent and three bits of mantissa, so rounding to FP8, subnormals and zero are part of the model instead of an
// error in it. The laws are Nolan's (weights/alpha_law.h). Where numbers have a scale a row or a block, the products can be
// fitted instead: each count is then spread evenly over its cell times its scale, in cells of an eighth octave.
//
// Error: the larger of two standard errors. One is of the likelihood: where its logarithm falls by 1/2 (it knows only
// the count). The other lets the tensor's eighths differ (the sandwich estimator of clustered data: K.-Y. Liang and
// S. L. Zeger, Biometrika 73, 1986): weights of real layers are no independent draws of one law. Tails lighter than a
// normal law's give alpha 2, where only the first is known and shows small.
#ifndef ECD_WEIGHTS_ALPHA_FIT_H
#define ECD_WEIGHTS_ALPHA_FIT_H

#include <stdbool.h>

#include "base/dtype.h"
#include "weights/alpha_law.h"

#define ECD_ALPHA_METHOD "maximum likelihood of binned magnitudes; stable laws by Nolan 1997"

typedef struct ecd_alpha_fit {
    bool valid;         // at least 4096 weights in eight cells, not most of them zero, alpha above ECD_ALPHA_LEAST
    double alpha;       // 2 is a normal law, less has heavier tails
    double alpha_error; // standard error
    double scale;       // of the numbers counted; a normal law's is its deviation / sqrt(2)
    double misfit;      // share of the weights that lie in other exponents than the law puts them in
    double law_bits;    // H(E) of the law itself
    double low_bits, high_bits; // alpha/(1 + 2^-alpha) <= H(E) <= alpha/(1 - 2^-alpha), the ECF8 paper's bounds
} ecd_alpha_fit;

// The paper's limit of lossless coding, "FP4.67": the upper bound at alpha 2, a sign, and a bit of mantissa.
#define ECD_ALPHA_LIMIT_BITS (2.0 / (1.0 - 0.25) + 2.0)

enum {
    ECD_ALPHA_SLICES = 8,
    ECD_ALPHA_MAGNITUDES = 1 << 15,
    ECD_ALPHA_SCALES = 2048,    // classes of scales: 1/32 octave from 2^-48 to 2^16
    ECD_ALPHA_FP8 = 128,        // magnitudes of FP8
};

// What is counted of a tensor, piece by piece. About 2 MiB; 16 MiB more with scales, touched where they occur.
typedef struct ecd_alpha_counts {
    ecd_dtype dtype;
    uint64_t total;                                                 // weights of the tensor
    uint64_t magnitudes[ECD_ALPHA_SLICES][ECD_ALPHA_MAGNITUDES];    // of the numbers as stored
    uint64_t high_bytes[256];                                       // bytes of FP8, the upper bytes of 16-bit types
    uint64_t (*scaled)[ECD_ALPHA_SCALES][ECD_ALPHA_FP8];            // [slices], or NULL
} ecd_alpha_counts;

// For E4M3, E5M2, BF16 and F16; `scaled` only for the first two. ECD_RESOURCE when memory is out.
ecd_status ecd_alpha_counts_new(ecd_dtype dtype, uint64_t total, bool scaled, ecd_alpha_counts **out, ecd_diag *diag);
void ecd_alpha_counts_free(ecd_alpha_counts *counts); // NULL is allowed

// Adds weights first .. first + n - 1, which lie at `elements`. With `scaled`, all have this positive scale.
void ecd_alpha_count(ecd_alpha_counts *counts, const uint8_t *elements, uint64_t first, uint64_t n, double scale);

// Fits the numbers as stored, whose exponents are coded, or with `scaled` those times their scales.
ecd_status ecd_alpha_fit_of(const ecd_alpha_table *table, const ecd_alpha_counts *counts, bool scaled,
                            ecd_alpha_fit *out, ecd_diag *diag);

// The share of weights in each exponent field that a law gives to numbers of `dtype` (256 for BF16, less for others).
void ecd_alpha_shares(const ecd_alpha_table *table, double alpha, double scale, ecd_dtype dtype, double shares[256]);

unsigned ecd_alpha_mantissa_bits(ecd_dtype dtype); // 3, 2, 7, 10

#endif
