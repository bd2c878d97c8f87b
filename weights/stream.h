// A tensor's decoded bytes from beginning to end in pieces, in flat memory whatever its size.
#ifndef ECD_WEIGHTS_STREAM_H
#define ECD_WEIGHTS_STREAM_H

#include "weights/coded.h"

enum { ECD_STREAM_ELEMENTS = 1 << 22 }; // of a piece: the same for every tensor, so that two can be compared

typedef struct ecd_tensor_stream {
    const ecd_tensor *tensor;
    ecd_coded coded;
    ecf8_decoder decoder;
    uint8_t *tables, *piece; // owned; NULL for raw tensors
    uint64_t at;             // elements given so far
} ecd_tensor_stream;

// The tensor is borrowed.
ecd_status ecd_tensor_stream_open(const ecd_tensor *tensor, ecd_tensor_stream *out, ecd_diag *diag);
// The next piece, valid until the next call; *size_bytes is 0 at the end. CRCs are compared.
ecd_status ecd_tensor_stream_next(ecd_tensor_stream *stream, const uint8_t **data, uint64_t *size_bytes, ecd_diag *diag);
void ecd_tensor_stream_close(ecd_tensor_stream *stream); // harmless twice and after a failed open

#endif
