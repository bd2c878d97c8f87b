// A weight that is held as ECF8, and how it is decoded: whole, or by ranges of elements from any number of threads. Operations
// that take one (ecd_weight.coded) decode what they use. Faults of the codec become diagnoses with file, tensor and offset.
#ifndef ECD_KERNELS_CODED_H
#define ECD_KERNELS_CODED_H

#include <stdatomic.h>

#include "codec/ecf8.h"
#include "codec/published.h"
#include "kernels/backend.h"

// Where coded bytes come from, for messages. Strings are borrowed.
typedef struct ecd_coded_place {
    const char *tensor, *path; // path may be NULL
    uint64_t offset_bytes;     // of the bytes in the file
    bool in_file;              // false: they were made at opening and have no place in it
} ecd_coded_place;

typedef struct ecd_coded {
    ecd_dtype dtype;
    uint64_t count;        // elements
    ecf8_view view;        // the container; all zeros where there is a group
    ecd_coded_place place; // of the container
    const ecf8_published *group;         // the published ECF8 group that holds them, or NULL
    uint64_t first;                      // place of the first element in the container or group, which may hold more
    const ecd_coded_place *group_places; // [ECF8_PUBLISHED_PARTS], of the group's buffers
    bool check;                  // compare the CRC of each tile at each use; otherwise until `proven`
    atomic_bool proven;          // an operation has compared them all once
    atomic_uint_fast64_t use_ns; // spent decoding inside operations, all threads together
    ecd_coded_held *held;        // where a device holds it (ecd_backend_ops.coded_hold), NULL elsewhere
} ecd_coded;

// What decodes: tables, built once for any number of threads.
typedef struct ecd_coded_decoder {
    ecf8_decoder container;
    ecf8_published_decoder published;
} ecd_coded_decoder;

size_t ecd_coded_table_bytes(const ecd_coded *coded); // at most ECF8_DECODER_MAX_BYTES

// Decodes the whole weight to `out` (count x element size). `tables` is working memory of at least
// ecd_coded_table_bytes; nothing is allocated. With `verify` each tile's CRC is compared.
ecd_status ecd_coded_decode(const ecd_coded *coded, void *out, bool verify, void *tables, size_t table_bytes,
                            ecd_diag *diag);

// The same in steps: tables first, then any range of elements, `out_bytes` being their size.
ecd_status ecd_coded_decoder_init(const ecd_coded *coded, void *tables, size_t table_bytes, ecd_coded_decoder *out,
                                  ecd_diag *diag);
ecd_status ecd_coded_decode_range(const ecd_coded *coded, const ecd_coded_decoder *decoder, uint64_t first,
                                  uint64_t count, void *out, uint64_t out_bytes, bool verify, ecd_diag *diag);

// Fills `diag` with a fault that the codec found.
ecd_status ecd_coded_fail(const ecd_coded_place *place, const ecf8_error *error, ecd_diag *diag);
ecd_status ecd_coded_fail_published(const ecd_coded_place *places, const ecf8_published_error *error, ecd_diag *diag);

// For implementations of operations. Decodes a whole weight, and notes what it cost and proved; keeps a failure.
void ecd_coded_use(ecd_backend *be, ecd_coded *coded, void *out);
// A weight's elements, in memory of their own if they had to be decoded, which the caller gives to free() whatever the
// result (NULL where there is none). False after keeping a failure.
bool ecd_coded_expand(ecd_backend *be, const ecd_weight *w, ecd_weight *out, void **memory);

#endif
