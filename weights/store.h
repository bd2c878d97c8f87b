// The block store: the weights of block i, ready to compute with, from acquire(i) until release(i).
//
// An architecture declares its blocks as lists of tensors; opening the store checks them all (presence, shape, type,
// scales) before anything is computed. Matrices stay as the file holds them (raw elements, mapped; or ECF8 in memory)
// and are decoded into one of a few buffers when their block is wanted; the next block is decoded by a second thread
// meanwhile. Vectors (biases, norms) and scales are small: they are widened to f32 once and stay.
// The raw path goes through the same buffers bookkeeping, so the two paths differ by the entropy coding alone.
// Nothing is allocated between opening and closing.
#ifndef ECD_WEIGHTS_STORE_H
#define ECD_WEIGHTS_STORE_H

#include "weights/checkpoint.h"

typedef enum ecd_weights_mode {
    ECD_WEIGHTS_AUTO = 0, // as the files hold them
    ECD_WEIGHTS_ECF8,     // ECF8 in memory, decoded at each use; a tensor that is raw in the file is encoded at opening
    ECD_WEIGHTS_RAW,      // uncompressed in memory; an ECF8 tensor is decoded once at opening
} ecd_weights_mode;

typedef enum ecd_spec_kind {
    ECD_SPEC_MATRIX = 0, // lent as ecd_weight [shape[0], product of the rest]
    ECD_SPEC_VECTOR,     // lent as f32 [count]
} ecd_spec_kind;

typedef struct ecd_tensor_spec {
    const char *name; // after the block's prefix
    ecd_spec_kind kind;
    int dims;
    int64_t shape[4];
    bool optional; // absent: lent as NULL data
} ecd_tensor_spec;

typedef struct ecd_block_spec {
    const char *prefix; // "transformer_blocks.3."; borrowed only while opening
    const ecd_tensor_spec *tensors;
    int count;
    bool resident; // stays decoded from opening on: embedders, the last layer, a VAE
} ecd_block_spec;

// What acquire lends: one entry a tensor of the block's spec, in its order.
typedef struct ecd_block {
    const ecd_weight *weights;   // [count]; .data NULL for vectors and absent tensors
    const float *const *vectors; // [count]; backend memory; NULL for matrices and absent tensors
} ecd_block;

typedef struct ecd_store_options {
    ecd_weights_mode mode;
    int buffers;    // decoded blocks held at once: 0 = 2 (one used, one decoded meanwhile), at most one a block
    bool read_ahead; // decode the next block on a second thread
    bool check_crc; // check the CRC of each tile at each decode (always done once, at first use)
} ecd_store_options;

typedef struct ecd_store_report {
    uint64_t weights_bytes;   // held for weights: ECF8 or raw bytes, vectors and scales
    uint64_t raw_bytes;       // the same weights uncompressed
    uint64_t buffer_bytes;    // decode buffers
    uint64_t decode_ns;       // spent decoding, on either thread
    uint64_t exposed_ns;      // of it (and of waiting for it) while compute stood still
    uint64_t acquires;
} ecd_store_report;

typedef struct ecd_store ecd_store;

// Blocks are used in the order 0, 1, ..., count-1, 0, 1, ...: that is what read-ahead expects; any other order works
// too. The checkpoint and the backend must outlive the store. Its functions are called from one thread.
ecd_status ecd_store_open(const ecd_checkpoint *cp, ecd_backend *be, const ecd_block_spec *blocks, int count,
                          const ecd_store_options *options, ecd_store **out, ecd_diag *diag);
void ecd_store_close(ecd_store *store); // NULL is allowed

// Lends block i until ecd_store_release. At most `buffers` blocks may be held. ECD_DATA if its ECF8 does not decode.
ecd_status ecd_store_acquire(ecd_store *store, int block, ecd_block *out, ecd_diag *diag);
void ecd_store_release(ecd_store *store, int block);

void ecd_store_report_get(const ecd_store *store, ecd_store_report *out);

// Changes what acquires do from now on, between steps only: tests of one buffer against all.
int ecd_store_buffers(const ecd_store *store);

#endif
