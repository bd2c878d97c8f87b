// Tensors of a file that hold the same bytes: DiT's embedders, once in each block.
#ifndef ECD_WEIGHTS_TWINS_H
#define ECD_WEIGHTS_TWINS_H

#include "weights/checkpoint_internal.h"

// (*twins)[i] is the first tensor of the type, shape and bytes of tensor i: i itself if there is none before it, and for
// tensors below 4 KiB. The caller frees.
ecd_status ecd_twins_find(const ecd_checkpoint *cp, size_t **twins, ecd_diag *diag);

#endif
