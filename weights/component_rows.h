// Rows of fused matrices, with the biases and scales that belong to them: internal to weights/.
#ifndef ECD_WEIGHTS_COMPONENT_ROWS_H
#define ECD_WEIGHTS_COMPONENT_ROWS_H

#include "weights/checkpoint_internal.h"

// The rows of the weight beside a module's tensor, which say how that is cut; its own where there is no weight, or one
// whose shape is not known.
int64_t ecd_component_rows(const ecd_checkpoint *cp, const ecd_tensor *tensor);

// What of a module's tensor belongs to rows first .. end - 1 of the module's `rows`: those rows, where they lie; the
// scales of those blocks; all of what is one value, or neither weight, bias nor scale. ECD_DATA for another shape.
ecd_status ecd_component_part(const ecd_tensor *t, int64_t rows, int64_t first, int64_t end, ecd_tensor *out,
                              ecd_diag *diag);

// The tensor with the halves of its rows exchanged: decoded, a copy that `cp` keeps, but for what both halves share.
ecd_status ecd_component_swap(ecd_checkpoint *cp, const ecd_tensor *t, int64_t rows, ecd_tensor *out, ecd_diag *diag);

#endif
