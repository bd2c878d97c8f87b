#include "weights/store_internal.h"

#include "base/process.h"

// How many blocks of the order are used before this one is: 1 for the next, order_count for the one used last.
int ecd_store_distance(const ecd_store *store, int block)
{
    int n = store->order_count;
    return ((store->blocks[block].rank - store->cursor - 1) % n + n) % n + 1;
}

// A block `ahead` uses from now.
int ecd_store_block_ahead(const ecd_store *store, int ahead)
{
    return store->order[(store->cursor + ahead) % store->order_count];
}

static bool is_lent_as_read(const ecd_store_block *block)
{
    return block->kind == ECD_BLOCK_STREAMED && !block->buffer_bytes;
}

// Gives the lock up for something that takes long.
static void step_out(ecd_store *store)
{
    pthread_mutex_unlock(&store->lock);
    if (store->options.disturb)
        store->options.disturb();
}

static void step_in(ecd_store *store)
{
    if (store->options.disturb)
        store->options.disturb();
    pthread_mutex_lock(&store->lock);
}

static void begin(ecd_store *store, ecd_store_work *work, int block)
{
    int first = store->blocks[block].first;
    *work = (ecd_store_work){
        .state = ECD_PLACE_FILLING, .block = block, .next = first, .end = first + store->blocks[block].count};
    pthread_cond_broadcast(&store->work); // other threads may join in
}

// Says how a work ended, once the last thread at it finds nothing more to do.
static bool end(ecd_store *store, ecd_store_work *work)
{
    if (work->running || work->state != ECD_PLACE_FILLING)
        return false;
    work->state = work->diag.status ? ECD_PLACE_FAILED : ECD_PLACE_READY;
    pthread_cond_broadcast(&store->done);
    pthread_cond_broadcast(&store->work);
    return true;
}

static void keep_fault(ecd_store_work *work, ecd_status status, const ecd_diag *diag)
{
    if (status && !work->diag.status)
        work->diag = *diag;
}

static bool has_units(const ecd_store_work *work)
{
    return work->state == ECD_PLACE_FILLING && !work->diag.status && work->next < work->end;
}

// ---- buffers: decoding

// A buffer to decode a block `ahead` uses from now into: its own, or an empty one, else the one that is wanted last.
// With blocks used in turn that keeps the first buffers' blocks decoded and streams the others through two buffers,
// where dropping the oldest would decode every block every time. NULL if all are in use or wanted sooner.
ecd_store_buffer *ecd_store_choose_buffer(ecd_store *store, int block, int ahead)
{
    ecd_store_buffer *best = NULL;
    int farthest = ahead;
    if (store->blocks[block].kind == ECD_BLOCK_READY) {
        for (int i = store->shared_count; i < store->buffer_count; i++)
            if (store->buffers[i].owner == block)
                return &store->buffers[i];
        return NULL;
    }
    for (int i = 0; i < store->shared_count; i++) {
        ecd_store_buffer *buffer = &store->buffers[i];
        if (buffer->work.state == ECD_PLACE_EMPTY)
            return buffer;
        if (buffer->work.state == ECD_PLACE_FILLING || store->blocks[buffer->work.block].users)
            continue;
        int d = ecd_store_distance(store, buffer->work.block);
        if (d > farthest) {
            farthest = d;
            best = buffer;
        }
    }
    return best;
}

void ecd_store_claim_buffer(ecd_store *store, ecd_store_buffer *buffer, int block)
{
    if (buffer->work.state != ECD_PLACE_EMPTY)
        store->blocks[buffer->work.block].buffer = -1;
    store->blocks[block].buffer = (int)(buffer - store->buffers);
    begin(store, &buffer->work, block);
}

// The buffer's next unit that wants decoding, or -1; after a fault there is none.
static int take_unit(const ecd_store *store, ecd_store_work *work)
{
    while (has_units(work)) {
        int unit = work->next++;
        ecd_unit_form form = store->units[unit].form;
        if (form == ECD_UNIT_CODED)
            return unit;
    }
    return -1;
}

// What was read for a block is free again once the block is decoded.
static void free_slot(ecd_store *store, int block)
{
    if (store->blocks[block].slot < 0)
        return;
    store->slots[store->blocks[block].slot].work.state = ECD_PLACE_EMPTY;
    store->blocks[block].slot = -1;
}

// Decodes the buffer's units until all are taken. Several threads may be at it: the one that ends last says that the
// buffer is ready.
static void fill(ecd_store *store, ecd_store_buffer *buffer, int decoder)
{
    ecd_store_work *work = &buffer->work;
    for (int unit; (unit = take_unit(store, work)) >= 0;) {
        ecd_diag diag = {0};
        work->running++;
        step_out(store);
        uint64_t start = ecd_now_ns();
        ecd_status status = ecd_store_decode(store, unit, buffer, store->tables[decoder], &diag);
        uint64_t spent = ecd_now_ns() - start;
        step_in(store);
        work->running--;
        store->report.decode_ns += spent;
        keep_fault(work, status, &diag);
    }
    int block = work->block;
    if (end(store, work))
        free_slot(store, block);
}

// ---- slots: reading

// The same for slots: what a thread decodes from stays too.
static ecd_store_slot *choose_slot(ecd_store *store, int ahead)
{
    ecd_store_slot *best = NULL;
    int farthest = ahead;
    for (int i = 0; i < store->slot_count; i++) {
        ecd_store_slot *slot = &store->slots[i];
        if (slot->work.state == ECD_PLACE_EMPTY)
            return slot;
        const ecd_store_block *held = &store->blocks[slot->work.block];
        if (slot->work.state == ECD_PLACE_FILLING || held->users || held->buffer >= 0)
            continue;
        int d = ecd_store_distance(store, slot->work.block);
        if (d > farthest) {
            farthest = d;
            best = slot;
        }
    }
    return best;
}

static void claim_slot(ecd_store *store, ecd_store_slot *slot, int block)
{
    if (slot->work.state != ECD_PLACE_EMPTY)
        store->blocks[slot->work.block].slot = -1;
    store->blocks[block].slot = (int)(slot - store->slots);
    begin(store, &slot->work, block);
}

typedef struct piece {
    int unit;
    uint64_t at, size;
} piece;

static bool take_piece(const ecd_store *store, ecd_store_work *work, piece *out)
{
    for (; has_units(work); work->next++, work->at = 0) {
        const ecd_store_unit *unit = &store->units[work->next];
        if ((unit->form != ECD_UNIT_CODED && unit->form != ECD_UNIT_READ) || unit->shared)
            continue;
        uint64_t whole = unit->tensor->offset_bytes % ECD_DIRECT_ALIGN + unit->tensor->size_bytes;
        if (work->at >= whole)
            continue;
        uint64_t left = whole - work->at;
        *out = (piece){work->next, work->at, left < ECD_STORE_PIECE ? left : ECD_STORE_PIECE};
        work->at += out->size;
        return true;
    }
    return false;
}

static void read_in(ecd_store *store, ecd_store_slot *slot)
{
    ecd_store_work *work = &slot->work;
    for (piece p; take_piece(store, work, &p);) {
        ecd_diag diag = {0};
        work->running++;
        step_out(store);
        uint64_t start = ecd_now_ns();
        ecd_status status = ecd_store_read(store, p.unit, p.at, p.size, slot, &diag);
        uint64_t spent = ecd_now_ns() - start;
        step_in(store);
        work->running--;
        store->report.read_ns += spent;
        store->report.read_bytes += p.size;
        keep_fault(work, status, &diag);
    }
    end(store, work);
}

// ---- the store's own threads

static ecd_store_buffer *unfinished_buffer(ecd_store *store)
{
    for (int i = 0; i < store->buffer_count; i++)
        if (has_units(&store->buffers[i].work))
            return &store->buffers[i];
    return NULL;
}

// The next block that is not decoded, if it can be decoded now: only the first, since decoding further ahead would take
// buffers from blocks that are wanted sooner.
static ecd_store_buffer *decode_ahead(ecd_store *store)
{
    for (int ahead = 1; ahead <= store->order_count; ahead++) {
        int index = ecd_store_block_ahead(store, ahead);
        const ecd_store_block *block = &store->blocks[index];
        if (is_lent_as_read(block))
            continue;
        if (block->buffer >= 0) {
            const ecd_store_buffer *buffer = &store->buffers[block->buffer];
            if (buffer->owner >= 0 && buffer->work.state == ECD_PLACE_READY)
                continue;
            return NULL;
        }
        bool waits = block->kind == ECD_BLOCK_STREAMED &&
                     (block->slot < 0 || store->slots[block->slot].work.state != ECD_PLACE_READY);
        ecd_store_buffer *buffer = waits ? NULL : ecd_store_choose_buffer(store, index, ahead);
        if (buffer)
            ecd_store_claim_buffer(store, buffer, index);
        return buffer;
    }
    return NULL;
}

void *ecd_store_decoder_main(void *opaque)
{
    ecd_store *store = opaque;
    pthread_mutex_lock(&store->lock);
    while (!store->stop) {
        ecd_store_buffer *buffer = unfinished_buffer(store);
        if (!buffer && !store->resting)
            buffer = decode_ahead(store);
        if (buffer)
            fill(store, buffer, ECD_STORE_SECOND);
        else
            pthread_cond_wait(&store->work, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static ecd_store_slot *unfinished_slot(ecd_store *store)
{
    for (int i = 0; i < store->slot_count; i++)
        if (has_units(&store->slots[i].work))
            return &store->slots[i];
    return NULL;
}

// The next streamed block that is neither read nor decoded.
static ecd_store_slot *read_ahead(ecd_store *store)
{
    for (int ahead = 1; ahead <= store->order_count; ahead++) {
        int index = ecd_store_block_ahead(store, ahead);
        const ecd_store_block *block = &store->blocks[index];
        if (block->kind != ECD_BLOCK_STREAMED || block->slot >= 0 || block->buffer >= 0)
            continue;
        ecd_store_slot *slot = choose_slot(store, ahead);
        if (slot)
            claim_slot(store, slot, index);
        return slot;
    }
    return NULL;
}

void *ecd_store_reader_main(void *opaque)
{
    ecd_store *store = opaque;
    pthread_mutex_lock(&store->lock);
    while (!store->stop) {
        ecd_store_slot *slot = unfinished_slot(store);
        if (!slot && !store->resting)
            slot = read_ahead(store);
        if (slot)
            read_in(store, slot);
        else
            pthread_cond_wait(&store->work, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

// ---- the caller

static bool any_filling(const ecd_store *store)
{
    for (int i = 0; i < store->buffer_count; i++)
        if (store->buffers[i].work.state == ECD_PLACE_FILLING)
            return true;
    for (int i = 0; i < store->slot_count; i++)
        if (store->slots[i].work.state == ECD_PLACE_FILLING)
            return true;
    return false;
}

void ecd_store_empty(ecd_store *store)
{
    while (any_filling(store))
        pthread_cond_wait(&store->done, &store->lock);
    for (int i = 0; i < store->buffer_count; i++)
        store->buffers[i].work = (ecd_store_work){.block = -1};
    for (int i = 0; i < store->slot_count; i++)
        store->slots[i].work = (ecd_store_work){.block = -1};
    for (int i = 0; i < store->block_count; i++)
        store->blocks[i].buffer = store->blocks[i].slot = -1;
    store->cursor = -1;
}

static ecd_status take_fault(ecd_store_work *work, int *place, ecd_diag *diag)
{
    ecd_status status = work->diag.status;
    if (diag)
        *diag = work->diag;
    work->state = ECD_PLACE_EMPTY;
    *place = -1;
    return status;
}

// One turn towards having the block in a place: true once it is there or has failed (*status). This thread reads and
// decodes too: it has nothing better to do.
static bool advance_slot(ecd_store *store, int index, ecd_status *status, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    ecd_store_slot *slot = block->slot < 0 ? NULL : &store->slots[block->slot];
    if (slot && slot->work.state == ECD_PLACE_READY)
        return true;
    if (slot && slot->work.state == ECD_PLACE_FAILED) {
        *status = take_fault(&slot->work, &block->slot, diag);
        return true;
    }
    if (!slot && (slot = choose_slot(store, 0)))
        claim_slot(store, slot, index);
    if (slot && has_units(&slot->work)) {
        read_in(store, slot);
    } else if (slot || any_filling(store)) {
        pthread_cond_wait(&store->done, &store->lock);
    } else {
        *status = ecd_fail(diag, ECD_USAGE, "block %d is wanted while all %d slots for reading are held", index,
                           store->slot_count);
        return true;
    }
    return false;
}

static bool advance_buffer(ecd_store *store, int index, ecd_status *status, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    ecd_store_buffer *buffer = block->buffer < 0 ? NULL : &store->buffers[block->buffer];
    if (buffer && buffer->work.state == ECD_PLACE_READY)
        return true;
    if (buffer && buffer->work.state == ECD_PLACE_FAILED) {
        *status = take_fault(&buffer->work, &block->buffer, diag);
        return true;
    }
    if (!buffer && block->kind == ECD_BLOCK_STREAMED && (!advance_slot(store, index, status, diag) || *status))
        return *status != ECD_OK;
    if (!buffer && block->buffer >= 0) // the second thread was faster while the lock was given up
        return false;
    if (!buffer && (buffer = ecd_store_choose_buffer(store, index, 0)))
        ecd_store_claim_buffer(store, buffer, index);
    if (buffer && has_units(&buffer->work)) {
        fill(store, buffer, ECD_STORE_CALLER);
    } else if (buffer || any_filling(store)) {
        pthread_cond_wait(&store->done, &store->lock);
    } else {
        *status = ecd_fail(diag, ECD_USAGE, "block %d is wanted while all %d decode buffers are held", index,
                           store->shared_count);
        return true;
    }
    return false;
}

static ecd_status lend_slot(ecd_store *store, const ecd_store_block *block, ecd_diag *diag)
{
    const ecd_store_slot *slot = &store->slots[block->slot];
    ecd_status status = ECD_OK;
    for (int i = block->first; i < block->first + block->count && !status; i++) {
        const ecd_store_unit *unit = &store->units[i];
        if (unit->form == ECD_UNIT_READ)
            store->weights[i].data = ecd_store_slot_data(unit, slot);
        else if (unit->form == ECD_UNIT_CODED)
            status = ecd_store_lend_coded(store, i, ecd_store_slot_data(unit, slot), true, diag);
    }
    return status;
}

ecd_status ecd_store_obtain(ecd_store *store, int index, ecd_diag *diag)
{
    const ecd_store_block *block = &store->blocks[index];
    ecd_status status = ECD_OK;
    if (is_lent_as_read(block)) {
        while (!advance_slot(store, index, &status, diag))
            continue;
        return status ? status : lend_slot(store, block, diag);
    }
    while (!advance_buffer(store, index, &status, diag))
        continue;
    return status;
}
