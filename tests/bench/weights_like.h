// Synthetic E4M3 weights like those of trained models: the distributions that the codec's sizes and speeds are given
// for (docs/SPEED.md, "Codec"). Deterministic: the same kind and count give the same weights on one machine (they pass
// through libm's log, sin and pow, whose last bits differ between machines).
#ifndef ECF8_WEIGHTS_LIKE_H
#define ECF8_WEIGHTS_LIKE_H

#include <stdint.h>

typedef enum ecf8_bench_kind {
    ECF8_BENCH_GAUSS_BLOCK,  // Gaussian, scaled to the full range in blocks of 128x128, as DeepSeek-R1's
    ECF8_BENCH_T5_BLOCK,     // Student's t with 5 degrees of freedom, the same scales
    ECF8_BENCH_STABLE_BLOCK, // symmetric alpha-stable with alpha 1.8, the same scales
    ECF8_BENCH_RAW_CAST,     // Gaussian of standard deviation 0.02, cast without a scale, as diffusion transformers are
    ECF8_BENCH_ROWS_TENSOR,  // Gaussian whose rows differ in variance (log-normal, sigma 0.5), one scale for the tensor
    ECF8_BENCH_ROWS_ROW,     // the same rows with a scale each
    ECF8_BENCH_KINDS,
} ecf8_bench_kind;

#define ECF8_BENCH_COLS UINT64_C(4096) // weights of a row
#define ECF8_BENCH_BAND UINT64_C(128)  // rows that are made together: `rows` must be a multiple

const char *ecf8_bench_kind_name(ecf8_bench_kind kind);

// Fills rows * ECF8_BENCH_COLS weights. False: no memory.
_Bool ecf8_bench_fill(ecf8_bench_kind kind, uint8_t *out, uint64_t rows);

// Round to nearest even, values beyond 448 become 448 and NaN 0x7f, as torch's float8_e4m3fn with saturation.
uint8_t ecf8_bench_e4m3(float x);

#endif
