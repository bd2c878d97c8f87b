// What the files of the store share. Opening: store_resolve.c finds and checks tensors, store_plan.c decides what
// becomes of each block, store_open.c leads and fills, store_memory.c allocates. Use: store.c lends blocks,
// store_schedule.c says what is decoded and read next and where to, store_decode.c decodes, store_read.c reads from
// disk. Of a device: store_device_plan.c measures, store_device_memory.c brings weights there, store_device.c lends.
#ifndef ECD_WEIGHTS_STORE_INTERNAL_H
#define ECD_WEIGHTS_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/direct_file.h"
#include "kernels/decode_part.h"
#include "weights/coded.h"
#include "weights/store.h"

typedef enum ecd_unit_form {
    ECD_UNIT_ABSENT = 0,
    ECD_UNIT_VECTOR, // widened to f32 at opening
    ECD_UNIT_VIEW,   // lent where the file is mapped
    ECD_UNIT_KEPT,   // copied or decoded at opening into the store's memory
    ECD_UNIT_CODED,  // decoded into its block's buffer when that is wanted; lent as ECF8 if its block has none
    ECD_UNIT_READ,   // raw, lent from its block's slot
} ecd_unit_form;

// A tensor of a block.
typedef struct ecd_store_unit {
    const ecd_tensor *tensor; // NULL if absent
    ecd_unit_form form;
    int64_t rows, cols;
    double share; // of a pass's rows that meet it
    uint64_t decoded_bytes; // of its own type
    ecd_dtype lent;         // the type that it is lent in, and held in where it is held expanded
    uint64_t buffer_offset; // ECD_UNIT_CODED: place in the buffer, if its block has one
    uint64_t slot_offset;   // of a streamed block: place in the slot of the whole units of ECD_DIRECT_ALIGN it lies in
    int part;               // ECD_UNIT_CODED of a device: the part that it is decoded with
    bool shared;            // of a streamed block: rows of a container that a unit before it is rows of too, in one place
    int file;               // of a streamed block: index in store->files
    ecd_coded coded;        // valid where the tensor is, or was made, ECF8; of a streamed block: while it is lent
    uint8_t *own_blob;      // made at opening, NULL where the file holds it
} ecd_store_unit;

// ECF8 that a device decodes at once: a container or a published group, which units are parts or all of.
typedef struct ecd_store_part {
    int unit; // the first of them
    ecd_decode_part source; // with its place in the block's buffer
    uint64_t count;         // of elements
    uint64_t slot_offset; // of a streamed block
} ecd_store_part;

typedef struct ecd_store_block {
    int first, count; // units
    int first_part, part_count;
    bool resident;
    bool planned; // the plan decides about it: it has weights that are mapped from a file
    ecd_block_kind kind;
    uint64_t buffer_bytes; // of its coded units; 0: nothing to decode before it is lent
    uint64_t slot_bytes;   // streamed: that it is read into
    int rank;              // among the blocks that need decoding or reading, -1 for others
    int buffer;            // that holds it or is being filled with it, -1 for none
    int slot;              // likewise
    int users;             // acquires not yet released; a block in use keeps its buffer and slot
    ecd_decode_plan *device[ECD_PLAN_MAX_SLOTS]; // of a device, which decodes it; of a streamed block one for each slot
    bool device_proven;                          // its CRCs have been compared there
    bool lends_slot;        // of a device's streamed block: some of it is lent from the slot
    uint64_t device_bytes;  // that its first plan takes
    uint64_t pinned_offset; // of a streamed block of a device: where it is in host memory, laid out as in its slot
} ecd_store_block;

typedef enum ecd_place_state {
    ECD_PLACE_EMPTY = 0,
    ECD_PLACE_FILLING,
    ECD_PLACE_READY,
    ECD_PLACE_FAILED, // `diag` waits for the acquire of its block
} ecd_place_state;

// Work on a block that several threads share: units (and pieces of them) that no thread has taken yet.
typedef struct ecd_store_work {
    ecd_place_state state;
    int block;
    int next, end; // units
    uint64_t at;   // reading: bytes of unit `next` that are taken
    int running;   // threads at it now
    ecd_diag diag; // the first fault; status ECD_OK while there is none
} ecd_store_work;

typedef struct ecd_store_buffer {
    ecd_store_work work;
    int owner;        // the one block that it is for, -1 for any
    uint8_t *memory;  // backend memory
    ecd_decode_plan *plan; // of a device: that it was last decoded by, while there is one
} ecd_store_buffer;

typedef struct ecd_store_slot {
    ecd_store_work work;
    uint8_t *memory; // aligned to ECD_DIRECT_ALIGN; or a device's
    ecd_mark *sent, *read; // of a device's: what was sent there last has come; what was there has been used
} ecd_store_slot;

// Who decodes: the thread that acquires, or the second thread. Each has tables of its own.
enum { ECD_STORE_CALLER, ECD_STORE_SECOND, ECD_STORE_DECODERS };
enum { ECD_STORE_READERS = 2 }; // so that the disk has the next request when it ends one

struct ecd_store {
    const ecd_checkpoint *cp;
    ecd_backend *be;
    ecd_store_options options;

    ecd_store_unit *units;
    ecd_weight *weights;   // one a unit
    const float **vectors; // one a unit
    int unit_count;
    ecd_store_block *blocks;
    int block_count;
    int *order; // blocks that need decoding or reading, by rank
    int order_count;
    ecd_store_part *parts; // of a device
    ecd_decode_part *part_list; // room for one block's
    int part_count;
    ecd_store_buffer *buffers;
    int buffer_count, shared_count; // the shared ones come first
    uint64_t buffer_bytes;          // of a shared one
    ecd_store_slot *slots;
    int slot_count;
    uint64_t slot_bytes; // of one
    ecd_direct_file *files;
    const ecd_file **file_of; // what files[i] reads
    int file_count;

    void *memory;       // of the backend: what always stays
    void *block_memory; // likewise, of buffers, and what a device's blocks take: not there while it rests
    uint8_t *slot_memory; // of the host's slots
    uint8_t *pinned;      // of a device's streamed blocks
    void *table_memory;
    uint8_t *tables[ECD_STORE_DECODERS]; // the codec's, in `table_memory`
    size_t table_bytes;                  // of one thread's

    pthread_mutex_t lock; // guards all that follows, the blocks' buffer, slot and users, and the works
    pthread_cond_t work;  // a thread may have something to do
    pthread_cond_t done;  // a work has left ECD_PLACE_FILLING
    pthread_t decoder, readers[ECD_STORE_READERS];
    bool decoder_runs, reader_runs[ECD_STORE_READERS];
    bool stop, resting; // resting: the other threads begin nothing until the next acquire
    int cursor;         // rank of the block acquired last, -1 before the first
    ecd_store_report report;

    bool on_device; // memory is not the host's: store_device.c, no threads
    bool away;      // of a device: what blocks take there is not there

    pthread_t warmer; // walks the mapped weights so that they are in memory before compute wants them
    bool warmer_runs;
    atomic_bool warmer_stop;
};

// Of the elements as they are lent.
static inline uint64_t ecd_store_lent_bytes(const ecd_store_unit *unit)
{
    return unit->tensor->count * ecd_dtype_size(unit->lent);
}

// Is this unit's memory part of block_memory? That of a device's blocks which the plan may place elsewhere is.
static inline bool ecd_store_moves(const ecd_store *store, const ecd_store_block *block)
{
    return store->on_device && !block->resident;
}

// Rows that a product has at most, of a device.
static inline int64_t ecd_store_picture_rows(const ecd_store *store)
{
    const ecd_store_options *o = &store->options;
    return o->picture_rows > 0 ? o->picture_rows : o->rows > 0 ? o->rows : 1;
}

// To backend memory; counted where that is a device's.
static inline void ecd_store_upload(ecd_store *store, void *to, const void *from, uint64_t bytes)
{
    store->be->ops->upload(store->be, to, from, bytes);
    store->report.sent_bytes += store->on_device ? bytes : 0;
}

// store_open.c: units, views and buffers, filled; no threads yet. On failure the caller closes the store.
ecd_status ecd_store_prepare(ecd_store *store, const ecd_block_spec *specs, ecd_diag *diag);

// store_resolve.c: finds the unit's tensor and checks it against its spec.
ecd_status ecd_store_resolve(ecd_store *store, const ecd_block_spec *block, const ecd_tensor_spec *spec,
                             ecd_store_unit *unit, ecd_diag *diag);

// store_plan.c: what becomes of each block: kinds, ranks, the numbers and sizes of buffers and slots.
ecd_status ecd_store_decide(ecd_store *store, ecd_diag *diag);
// store_rates.c: measures what the plan depends on, or takes it from the file of rates.
ecd_status ecd_store_measure(ecd_store *store, ecd_rates *out, ecd_diag *diag);

// store_memory.c
ecd_status ecd_store_allocate(ecd_store *store, ecd_diag *diag);
void ecd_store_drop_pages(ecd_store *store);
ecd_status ecd_store_allocate_blocks(ecd_store *store, ecd_diag *diag); // block_memory
void ecd_store_give_back(ecd_store *store); // the memory of all buffers and slots, and mapped pages
uint64_t ecd_store_scale_count(const ecd_store_unit *unit);
// What a stretch of a file takes while its pages are mapped.
uint64_t ecd_store_page_bytes(uint64_t offset_bytes, uint64_t size_bytes);
static inline uint64_t ecd_store_aligned(uint64_t size)
{
    return (size + ECD_ARENA_ALIGN - 1) / ECD_ARENA_ALIGN * ECD_ARENA_ALIGN;
}

// store_schedule.c: all under the lock, which they give up while they work.
ecd_status ecd_store_obtain(ecd_store *store, int block, ecd_diag *diag);
void ecd_store_empty(ecd_store *store); // waits for works to end and forgets what they brought
void *ecd_store_decoder_main(void *store);
void *ecd_store_reader_main(void *store);

// The buffer that a block wanted `ahead` uses from now may be decoded into, NULL if there is none; and makes it the block's.
ecd_store_buffer *ecd_store_choose_buffer(ecd_store *store, int block, int ahead);
void ecd_store_claim_buffer(ecd_store *store, ecd_store_buffer *buffer, int block);
int ecd_store_block_ahead(const ecd_store *store, int ahead); // the block `ahead` uses from now
int ecd_store_distance(const ecd_store *store, int block); // in how many uses it is wanted: 1 for the next

// store_open.c: what stays where it is, or else what ecd_store_moves names.
ecd_status ecd_store_fill(ecd_store *store, bool moving, ecd_diag *diag);

// store_device_plan.c: what the parts of blocks are; whether blocks are to be decoded to BF16 (no more if not `allowed`), which
// lays out their buffers; what the plan must know of a block, with the places of its parts and units; what is held whatever
// the plan.
ecd_status ecd_store_device_parts(ecd_store *store, ecd_diag *diag);
bool ecd_store_device_widen(ecd_store *store, bool allowed);
void ecd_store_device_measure(ecd_store *store, ecd_store_block *block, ecd_block_size *out);
void ecd_store_device_place(ecd_store *store, ecd_store_block *block);
uint64_t ecd_store_device_fixed(ecd_store *store);
ecd_status ecd_store_device_rates(ecd_store *store, ecd_rates *out, ecd_diag *diag);

// store_device_memory.c: pins what is streamed; brings to the device what blocks take there, and gives it up.
ecd_status ecd_store_device_pin(ecd_store *store, ecd_diag *diag);
ecd_status ecd_store_device_come(ecd_store *store, ecd_diag *diag);
void ecd_store_device_go(ecd_store *store);
// The block's parts as a backend takes them: in `slot`, or copied by the plan where that is NULL.
ecd_decode_plan *ecd_store_device_prepare(ecd_store *store, const ecd_store_block *block, const ecd_store_slot *slot);

// store_device_held.c: blocks that are lent as ECF8 which the device holds.
bool ecd_store_device_holds(const ecd_store *store, const ecd_store_block *block);
ecd_status ecd_store_device_hold(ecd_store *store, const ecd_store_block *block, ecd_diag *diag);
void ecd_store_device_let_go(ecd_store *store);

// store_device.c: has block `block` there, decoded, and the next one begun; and ends its use. Under the lock.
ecd_status ecd_store_device_obtain(ecd_store *store, int block, ecd_diag *diag);
void ecd_store_device_release(ecd_store *store, int block);
void ecd_store_device_close(ecd_store *store);

// store_decode.c: brings a unit to its buffer and points its view at it. Runs without the lock: the
// buffer is being filled and nobody else has taken the unit.
ecd_status ecd_store_decode(ecd_store *store, int unit, ecd_store_buffer *buffer, uint8_t *tables, ecd_diag *diag);
// Lends a unit of a block that has no buffer as the ECF8 that lies at `from`, where it was read if `anew`.
ecd_status ecd_store_lend_coded(ecd_store *store, int unit, const uint8_t *from, bool anew, ecd_diag *diag);

// store_read.c
enum { ECD_STORE_PIECE = 2 << 20 }; // bytes that a thread reads at once
ecd_status ecd_store_open_files(ecd_store *store, ecd_diag *diag);
// Reads `size` bytes of a unit from byte `at` on into its block's slot, without the lock.
ecd_status ecd_store_read(ecd_store *store, int unit, uint64_t at, uint64_t size, const ecd_store_slot *slot,
                          ecd_diag *diag);
// Where the unit's bytes lie in its block's slot.
uint8_t *ecd_store_slot_data(const ecd_store_unit *unit, const ecd_store_slot *slot);

// store_warm.c: body of the warmer thread; and the same of one tensor at once.
void *ecd_store_warm(void *store);
void ecd_store_populate(const ecd_tensor *tensor);

#endif
