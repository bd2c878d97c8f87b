// Which blocks of a model stay expanded, which stay ECF8 and are decoded at each use, and which are read from disk at
// each use, so that a pass over all of them takes the least time in the memory there is. Arithmetic alone: the store
// measures sizes and rates and does what comes out. Of a device the memory is its own, and host memory is its disk.
#ifndef ECD_WEIGHTS_PLAN_H
#define ECD_WEIGHTS_PLAN_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ecd_block_kind {
    ECD_BLOCK_READY = 0, // expanded: as the file holds it, or decoded once at its first use
    ECD_BLOCK_DECODED,   // ECF8 in memory, decoded at each use: into a buffer, or by the operations that use it
    ECD_BLOCK_STREAMED,  // on disk (or, of a device, in host memory), read ahead of each use, and decoded if it is ECF8
    ECD_BLOCK_KINDS,
} ecd_block_kind;

enum { ECD_PLAN_MAX_SLOTS = 3 }; // one used or decoded, one full, one being read

typedef struct ecd_block_size {
    uint64_t ready_bytes;   // held while it is READY
    uint64_t coded_bytes;   // held while it is DECODED; 0: it has no ECF8 and cannot be
    uint64_t buffer_bytes;  // of the buffer that its ECF8 is decoded into; 0: operations decode what they use
    uint64_t slot_bytes;    // of the slot that it is read into while STREAMED; 0: it cannot be
    uint64_t decoded_bytes; // that decoding gives
    uint64_t read_bytes;    // on disk
    uint64_t streamed_bytes; // held while it is STREAMED
} ecd_block_size;

typedef struct ecd_rates {
    double decode;   // decoded bytes a second, one thread
    double read;     // bytes a second from disk, past the page cache, or over a device's bus
    double multiply; // multiply-adds a second of the backend's products, all threads
} ecd_rates;

typedef struct ecd_plan_request {
    const ecd_block_size *blocks;
    int count;
    uint64_t room_bytes; // that the blocks, buffers and slots may take together
    int threads;         // that compute
    bool beside;         // decoding has a queue of its own beside them: a device
    double products;     // multiply-adds of a pass
    ecd_rates rates;     // all above 0
} ecd_plan_request;

typedef struct ecd_plan {
    int counts[ECD_BLOCK_KINDS];
    int buffers, slots;                // of decoded blocks, and of blocks being read
    uint64_t buffer_bytes, slot_bytes; // of one each
    uint64_t held_bytes;               // of the blocks themselves
    uint64_t memory_bytes;             // held, buffers and slots
    uint64_t read_bytes;               // from disk or over the bus, a pass
    double products;                   // multiply-adds of a pass
    double seconds;                    // of a pass, as predicted
} ecd_plan;

// The plan with all blocks READY: the fastest, whatever the rates.
void ecd_plan_ready(const ecd_plan_request *request, ecd_block_kind *kinds, ecd_plan *out);
// The plan that takes the least memory, whatever the room and the rates.
void ecd_plan_least(const ecd_plan_request *request, ecd_block_kind *kinds, ecd_plan *out);
// The fastest plan within the room; kinds has `count` entries. False if there is none.
bool ecd_plan_fastest(const ecd_plan_request *request, ecd_block_kind *kinds, ecd_plan *out);

#endif
