// Writes a safetensors file tensor by tensor, in flat memory: the header's room is kept free and filled at the end.
// Source: the format section of huggingface/safetensors' README.
#ifndef ECD_WEIGHTS_WRITER_H
#define ECD_WEIGHTS_WRITER_H

#include "base/dtype.h"
#include "base/file.h"

typedef struct cJSON cJSON;

typedef struct ecd_tensors_writer {
    ecd_writer file;
    cJSON *header;         // grows with each tensor
    uint64_t header_bytes; // room kept for it
    uint64_t data_bytes;   // written after it
} ecd_tensors_writer;

// `header_bytes` is the room for the header's text, rounded up to 8; spaces fill what is left of it, as the format
// allows. `metadata` (may be NULL; an object of strings) becomes __metadata__ and is taken over, on failure too.
ecd_status ecd_tensors_writer_open(const char *path, uint64_t header_bytes, cJSON *metadata, ecd_tensors_writer *out,
                                   ecd_diag *diag);

// Appends a tensor of `size_bytes` = shape x dtype.
ecd_status ecd_tensors_writer_add(ecd_tensors_writer *writer, const char *name, ecd_dtype dtype, const int64_t *shape,
                                  int dims, const void *data, uint64_t size_bytes, ecd_diag *diag);
// The same for a tensor whose bytes are written by ecd_writer_patch(&writer->file, *at_bytes, ...), by any threads at any
// time between ecd_writer_flush and commit. Not to be mixed with ecd_tensors_writer_add.
ecd_status ecd_tensors_writer_place(ecd_tensors_writer *writer, const char *name, const char *dtype,
                                    const int64_t *shape, int dims, uint64_t size_bytes, uint64_t *at_bytes,
                                    ecd_diag *diag);
// Adds a string to __metadata__.
ecd_status ecd_tensors_writer_note(ecd_tensors_writer *writer, const char *key, const char *value, ecd_diag *diag);

// Exactly one of the two ends a writer that was opened.
ecd_status ecd_tensors_writer_commit(ecd_tensors_writer *writer, ecd_diag *diag);
void ecd_tensors_writer_abandon(ecd_tensors_writer *writer);

// A header's entry, {"dtype", "shape", "data_offsets"}; NULL when memory is out.
cJSON *ecd_tensors_entry(const char *dtype, const int64_t *shape, int dims, uint64_t begin, uint64_t end);

#endif
