// Rounding linear weights to E4M3 with a scale a row.
#ifndef ECD_WEIGHTS_QUANTIZE_H
#define ECD_WEIGHTS_QUANTIZE_H

#include "weights/checkpoint.h"

// Is this a linear weight of a transformer's block?
bool ecd_quantize_wants(const ecd_tensor *tensor);
// Rounds rows first .. first + rows - 1 of a matrix of F32, F16 or BF16 to E4M3: scale[row] = max|row| / 448 (1 for a row of
// zeros), saturating. `out` and `scale` are those of the whole tensor. A weight that is not finite is ECD_DATA.
ecd_status ecd_quantize_rows(const ecd_tensor *tensor, int64_t first, int64_t rows, uint8_t *out, float *scale,
                             ecd_diag *diag);

#endif
