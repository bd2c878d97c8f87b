// A tensor's ECF8 container, or its part of a published ECF8 group, checked once, then decoded any number of times. Faults of the
// codec become diagnoses with file, tensor and offset.
#ifndef ECD_WEIGHTS_CODED_H
#define ECD_WEIGHTS_CODED_H

#include "codec/ecf8.h"
#include "codec/published.h"
#include "weights/checkpoint.h"

typedef struct ecd_coded {
    const ecd_tensor *tensor; // borrowed, for messages
    ecf8_view view; // all zeros for a published tensor, which tensor->group holds
} ecd_coded;

// What decodes: tables, built once for any number of threads.
typedef struct ecd_coded_decoder {
    ecf8_decoder container;
    ecf8_published_decoder published;
} ecd_coded_decoder;

// The codec's name of an element type; 0 for a type that it does not code (F32 and all integers).
ecf8_dtype ecd_coded_dtype(ecd_dtype dtype);

// Checks the container's metadata, and that it holds the tensor's type and count. `blob` is borrowed. Of a published
// tensor, whose group was checked when its file was opened, `blob` does not count.
ecd_status ecd_coded_open(const ecd_tensor *tensor, const uint8_t *blob, uint64_t blob_bytes, ecd_coded *out,
                          ecd_diag *diag);

// Decodes the whole tensor to `out` (count x element size). `tables` is working memory of at least
// ecd_coded_table_bytes; nothing is allocated. With `verify` each tile's CRC is compared.
ecd_status ecd_coded_decode(const ecd_coded *coded, void *out, bool verify, void *tables, size_t table_bytes,
                            ecd_diag *diag);
size_t ecd_coded_table_bytes(const ecd_coded *coded); // at most ECF8_DECODER_MAX_BYTES

// The same in steps: tables first, then any range of elements, `out_bytes` being their size.
ecd_status ecd_coded_decoder_init(const ecd_coded *coded, void *tables, size_t table_bytes, ecd_coded_decoder *out,
                                  ecd_diag *diag);
ecd_status ecd_coded_decode_range(const ecd_coded *coded, const ecd_coded_decoder *decoder, uint64_t first,
                                  uint64_t count, void *out, uint64_t out_bytes, bool verify, ecd_diag *diag);

// Encodes `count` raw elements of [rows, cols] (0, 0: rows are not named). *blob is NULL where the container would be
// no smaller than the elements; otherwise the caller frees it.
ecd_status ecd_coded_encode(ecd_dtype dtype, const void *elements, uint64_t count, int64_t rows, int64_t cols,
                            uint8_t **blob, uint64_t *blob_bytes, ecd_diag *diag);

// Fills `diag` with a fault that the codec found in the tensor's container.
ecd_status ecd_coded_fail(const ecd_coded *coded, const ecf8_error *error, ecd_diag *diag);

#endif
