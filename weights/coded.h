// A tensor's ECF8 container, or its part of a published ECF8 group, checked once, then decoded (kernels/coded.h) any
// number of times; and containers made of raw elements.
#ifndef ECD_WEIGHTS_CODED_H
#define ECD_WEIGHTS_CODED_H

#include "kernels/coded.h"
#include "weights/checkpoint.h"

// The codec's name of an element type; 0 for a type that it does not code (F32 and all integers).
ecf8_dtype ecd_coded_dtype(ecd_dtype dtype);

// Checks the container's metadata, and that it holds the tensor's type and count. `blob` is borrowed. Of a published
// tensor, whose group was checked when its file was opened, `blob` does not count.
ecd_status ecd_coded_open(const ecd_tensor *tensor, const uint8_t *blob, uint64_t blob_bytes, ecd_coded *out,
                          ecd_diag *diag);

// Encodes `count` raw elements of [rows, cols] (0, 0: rows are not named). *blob is NULL where the container would be
// no smaller than the elements; otherwise the caller frees it.
ecd_status ecd_coded_encode(ecd_dtype dtype, const void *elements, uint64_t count, int64_t rows, int64_t cols,
                            uint8_t **blob, uint64_t *blob_bytes, ecd_diag *diag);

#endif
