// What the files of the store share: store_open.c resolves, checks, plans and fills; store_decode.c decodes a block;
// store.c lends blocks and runs the second thread.
#ifndef ECD_WEIGHTS_STORE_INTERNAL_H
#define ECD_WEIGHTS_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "weights/coded.h"
#include "weights/store.h"

typedef enum ecd_unit_form {
    ECD_UNIT_ABSENT = 0,
    ECD_UNIT_VECTOR, // widened to f32 at opening
    ECD_UNIT_VIEW,   // lent where the file is mapped
    ECD_UNIT_KEPT,   // copied or decoded at opening into the store's memory
    ECD_UNIT_CODED,  // decoded into a buffer when its block is wanted
} ecd_unit_form;

// A tensor of a block.
typedef struct ecd_store_unit {
    const ecd_tensor *tensor; // NULL if absent
    ecd_unit_form form;
    int64_t rows, cols;
    uint64_t decoded_bytes;
    uint64_t buffer_offset; // ECD_UNIT_CODED: place in the buffer
    ecd_coded coded;        // valid where the tensor is, or was made, ECF8
    uint8_t *own_blob;      // made at opening, NULL where the file holds it
    bool proven;            // its CRCs have been checked once
} ecd_store_unit;

typedef struct ecd_store_block {
    int first, count;      // units
    bool resident;
    uint64_t buffer_bytes; // of its coded units; 0: nothing to decode
    int rank;              // among the blocks that need decoding, -1 for others
    int buffer;            // that holds it or is being filled with it, -1 for none
    int users;             // acquires not yet released; a block in use keeps its buffer
} ecd_store_block;

typedef enum ecd_buffer_state {
    ECD_BUFFER_EMPTY = 0,
    ECD_BUFFER_DECODING,
    ECD_BUFFER_READY,
    ECD_BUFFER_FAILED, // `diag` waits for the acquire of its block
} ecd_buffer_state;

typedef struct ecd_store_buffer {
    ecd_buffer_state state;
    int block;
    uint8_t *memory;  // backend memory
    uint8_t *staging; // where it is decoded: `memory` itself if that is host memory
    bool uploaded;
    int next, end; // ECD_BUFFER_DECODING: units that no thread has taken yet
    int running;   // threads that decode one now
    ecd_diag diag; // the first fault; status ECD_OK while there is none
} ecd_store_buffer;

// Who decodes: the thread that acquires, or the second thread. Each has tables of its own.
enum { ECD_STORE_CALLER, ECD_STORE_SECOND, ECD_STORE_DECODERS };

struct ecd_store {
    const ecd_checkpoint *cp;
    ecd_backend *be;
    ecd_weights_mode mode;
    bool check_crc;

    ecd_store_unit *units;
    ecd_weight *weights;   // one a unit
    const float **vectors; // one a unit
    int unit_count;
    ecd_store_block *blocks;
    int block_count;
    int *order; // blocks that need decoding, by rank
    int order_count;
    ecd_store_buffer *buffers;
    int buffer_count;
    uint64_t buffer_bytes; // of one

    void *memory;  // the plan's one allocation, of the backend
    void *staging; // the buffers' host side
    uint8_t *tables[ECD_STORE_DECODERS]; // the codec's, in `staging`
    size_t table_bytes; // of one thread's

    pthread_mutex_t lock; // guards all that follows, the blocks' buffer and users, and the buffers' states
    pthread_cond_t work;  // the second thread may have something to do
    pthread_cond_t done;  // a buffer has left ECD_BUFFER_DECODING
    pthread_t decoder;
    bool decoder_runs;
    bool stop;
    int cursor; // rank of the block acquired last, -1 before the first
    ecd_store_report report;

    pthread_t warmer; // walks the mapped weights so that they are in memory before compute wants them
    bool warmer_runs;
    atomic_bool warmer_stop;
};

// store_open.c: units, views and buffers, filled; no threads yet. On failure the caller closes the store.
ecd_status ecd_store_prepare(ecd_store *store, const ecd_block_spec *specs, const ecd_store_options *options,
                             ecd_diag *diag);

// store_resolve.c: finds the unit's tensor and checks it against its spec.
ecd_status ecd_store_resolve(ecd_store *store, const ecd_block_spec *block, const ecd_tensor_spec *spec,
                             ecd_store_unit *unit, ecd_diag *diag);

// store_decode.c: decodes a coded unit into its buffer's staging memory and points its view at it.
// Runs without the lock: the buffer is in ECD_BUFFER_DECODING and nobody else has taken the unit.
ecd_status ecd_store_decode(ecd_store *store, int unit, ecd_store_buffer *buffer, uint8_t *tables, ecd_diag *diag);

// store_warm.c: body of the warmer thread.
void *ecd_store_warm(void *store);

#endif
