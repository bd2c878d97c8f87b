// A symmetric alpha-stable law fitted to a tensor's weights, and what it says of their exponents' entropy.
//
// Method: McCulloch's quantiles. J. H. McCulloch, "Simple consistent estimators of stable distribution parameters",
// Communications in Statistics - Simulation and Computation 15 (1986), tables III and V at beta = 0: alpha from
// (q95 - q05) / (q75 - q25), the scale from q75 - q25. Trained weights are symmetric about zero, so the quantiles are
// taken of the magnitudes.
#ifndef ECD_WEIGHTS_ALPHA_FIT_H
#define ECD_WEIGHTS_ALPHA_FIT_H

#include <stdbool.h>

#include "base/dtype.h"
#include "base/status.h"

typedef struct ecd_alpha_fit {
    bool valid;         // at least 4096 weights whose quantiles lie within the tables (alpha 0.593 to 2)
    double alpha;       // 2 is a normal law, less has heavier tails
    double scale;       // of the stored numbers, without the scales of FP8; a normal law's is its deviation / sqrt(2)
    double alpha_error; // standard error: the spread of the fits of eight slices of the tensor / sqrt(8).
                        // Tails lighter than a normal law's count as alpha 2, where the error shows too small (0)
    double low_bits, high_bits; // alpha/(1 + 2^-alpha) <= H(E) <= alpha/(1 - 2^-alpha), the ECF8 paper's bounds
} ecd_alpha_fit;

// The paper's limit of lossless coding, "FP4.67": the upper bound at alpha 2, a sign, and a bit of mantissa.
#define ECD_ALPHA_LIMIT_BITS (2.0 / (1.0 - 0.25) + 2.0)

// `elements`: E4M3, E5M2, BF16 or F16; of another type the fit is not valid. ECD_RESOURCE when memory is out.
ecd_status ecd_alpha_fit_of(const uint8_t *elements, uint64_t count, ecd_dtype dtype, ecd_alpha_fit *out,
                            ecd_diag *diag);

#endif
