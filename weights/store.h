// The block store: the weights of block i, ready to compute with, from acquire(i) until release(i).
//
// An architecture declares its blocks as lists of tensors; opening the store checks them all (presence, shape, type,
// scales) before anything is computed. Vectors (biases, norms) and scales are small: they are widened to f32 once and
// stay. What becomes of a block's matrices is planned (weights/plan.h): under a budget of memory as many blocks as
// possible are expanded once and stay so, others stay ECF8 in memory, others are read from disk at each use. Host memory's
// ECF8 is lent as it is (kernels/coded.h): operations decode what they use. The next block is read and decoded by threads of
// the store's own meanwhile.
//
// Of a backend with memory of its own the budget is that memory's. ECF8 is decoded there into one of a few buffers when its
// block is wanted, and what does not fit stays in pinned host memory, as ECF8 or raw, and is sent over the bus for each use,
// ahead of it. Neither the host nor a thread waits for that: the device's queues are ordered by marks.
//
// The raw path goes through the same bookkeeping, so the two paths differ by the entropy coding alone; but that a device whose
// products take BF16 decodes 8-bit types to it (the values are the same), and expands raw ones for each product, unless a budget has
// room for them as BF16.
// Nothing is allocated between opening and closing, but for what a device gives back at ecd_store_rest.
#ifndef ECD_WEIGHTS_STORE_H
#define ECD_WEIGHTS_STORE_H

#include "weights/checkpoint.h"
#include "weights/plan.h"

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
    double share;  // of the rows of a pass (ecd_store_options.rows), those that meet the matrix; 0: all
} ecd_tensor_spec;

static inline ecd_tensor_spec ecd_spec_matrix(const char *name, int64_t rows, int64_t cols)
{
    return (ecd_tensor_spec){.name = name, .kind = ECD_SPEC_MATRIX, .dims = 2, .shape = {rows, cols}};
}

static inline ecd_tensor_spec ecd_spec_vector(const char *name, int64_t count)
{
    return (ecd_tensor_spec){.name = name, .kind = ECD_SPEC_VECTOR, .dims = 1, .shape = {count}};
}

typedef struct ecd_block_spec {
    const char *prefix; // "transformer_blocks.3."; borrowed only while opening
    const ecd_tensor_spec *tensors;
    int count;
    bool resident; // stays decoded from opening on: embedders, the last layer, a VAE
} ecd_block_spec;

// What acquire lends: one entry a tensor of the block's spec, in its order.
typedef struct ecd_block {
    const ecd_weight *weights;   // [count], in either form; .data NULL for vectors and absent tensors
    const float *const *vectors; // [count]; backend memory; NULL for matrices and absent tensors
} ecd_block;

typedef struct ecd_store_options {
    ecd_weights_mode mode;
    bool read_ahead; // decode and read the next blocks on threads of the store's own
    bool check_crc;  // check the CRC of each tile at each decode (always done at first use, and of what is read anew)
    bool once;       // each block is used once: its file's pages are given back at its release, and a device is sent it then
    // Without a budget every ECF8 block is decoded at each use, and others are lent from the mapped file. Where it is decoded
    // into buffers, so many: 0 = 2 (one used, one decoded meanwhile), at most one a block.
    int buffers;
    // With one the store plans. ECD_WEIGHTS_ECF8 then encodes nothing at opening: what is raw in the file stays raw.
    uint64_t budget_bytes;  // of the whole process at its peak, or of what it has of a device's memory; 0: no plan
    uint64_t outside_bytes; // of it, that others hold at the peak
    uint64_t aside_bytes;   // of it, that others hold while no block is used, before the first or after ecd_store_rest
    int64_t rows;           // rows of activations that meet a matrix in a pass, for the time that a pass takes
    int64_t picture_rows;   // of them, of one picture, for a device's scratch; 0: all
    uint64_t scratch_bytes; // of a device: scratch that operations outside take, which is one with that of the products
    const char *rates_file; // keeps measured rates from run to run; NULL: measured anew. Borrowed while opening
    uint64_t *least_bytes;  // where the budget is too small: the least that works; may be NULL
    void (*disturb)(void);  // for tests of the threads: called wherever another thread may get ahead; NULL otherwise
} ecd_store_options;

typedef struct ecd_store_report {
    uint64_t weights_bytes; // held for weights: expanded, ECF8 or raw bytes, vectors and scales
    uint64_t raw_bytes;     // the same weights uncompressed
    uint64_t buffer_bytes;  // decode buffers and slots for reading
    uint64_t decode_ns;     // spent decoding, all threads together, inside operations or before them
    uint64_t exposed_ns;    // of it (and of waiting for it or for the disk) while compute stood still
    uint64_t read_ns;       // spent reading, all threads together
    uint64_t read_bytes;    // from disk, or from host memory over a device's bus, at uses of streamed blocks
    uint64_t sent_bytes;    // over the bus besides: weights that a device was given at opening, or after ecd_store_rest
    uint64_t pinned_bytes;  // host memory that streamed blocks are sent from
    uint64_t acquires;
    bool direct;            // streamed blocks are read past the page cache (O_DIRECT)
    bool device;            // memory is a device's: what is not held there is in host memory
    bool planned;           // there was a budget; else the plan says what the options made of the blocks
    ecd_plan plan;          // of the blocks that are not resident
    ecd_rates rates;        // that it was made with; 0 where nothing had to be measured
    uint64_t streamed_raw;  // of plan.counts[ECD_BLOCK_STREAMED], blocks that are raw on disk
    bool together;          // aside_bytes are there beside all that the store holds: it need not rest
    uint64_t planned_bytes; // of the process at its peak, as predicted: at most the budget
} ecd_store_report;

typedef struct ecd_store ecd_store;

// ECD_RESOURCE where the budget is too small: the message says what the least is; nothing has been loaded then.
// Blocks are used in the order 0, 1, ..., count-1, 0, 1, ...: that is what read-ahead expects; any other order works
// too. The checkpoint and the backend must outlive the store. Its functions are called from one thread.
ecd_status ecd_store_open(const ecd_checkpoint *cp, ecd_backend *be, const ecd_block_spec *blocks, int count,
                          const ecd_store_options *options, ecd_store **out, ecd_diag *diag);
void ecd_store_close(ecd_store *store); // NULL is allowed

// For outside_bytes of whoever opens a store next: what the process itself takes at its peak, before anything of `cp`, which
// is open, is loaded (its mapped pages are given back, which checking it has touched). Code that is first run later,
// threads' stacks and the backend's scratch are in it. Of a device: what it has of the device's memory, without scratch.
uint64_t ecd_store_program_bytes(const ecd_checkpoint *cp, ecd_backend *be);

// Lends block i until ecd_store_release. Without a plan at most `buffers` blocks may be held, with one a single block
// beside the resident ones. ECD_DATA if its ECF8 does not decode or its file has shrunk, ECD_RESOURCE if the disk
// fails. Of ECF8 that is lent as such the operation that uses it finds the first (ecd_backend_check).
ecd_status ecd_store_acquire(ecd_store *store, int block, ecd_block *out, ecd_diag *diag);
void ecd_store_release(ecd_store *store, int block);

// Gives back all memory whose content can be decoded or read again: blocks that are decoded, and mapped pages. No block
// may be held. The next acquire goes on as the first did.
void ecd_store_rest(ecd_store *store);

void ecd_store_report_get(const ecd_store *store, ecd_store_report *out);

// Changes what acquires do from now on, between steps only: tests of one buffer against all.
int ecd_store_buffers(const ecd_store *store);

#endif
