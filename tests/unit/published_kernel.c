#include "tests/unit/published_kernel.h"

#include <stdlib.h>

enum { THREAD_BITS = 64, LOOK_AHEAD_BITS = 16 };

enum rule {
    GRID_MISMATCH = 1, // output_positions has one entry a block and one more, gaps a nibble a thread
    TABLE_OUTSIDE,     // an entry names a table that is not there
    NO_PROGRESS,       // a code of no bits: the thread would never end
    PLACE_MISMATCH,    // a block's threads do not write what output_positions says
    NOT_WRITTEN,       // a weight is left
};

// Bit `at` of what a thread has loaded: its own 8 bytes and the next 2, zeros past the stream's end.
static unsigned loaded_bit(const published_arrays *in, uint64_t thread, unsigned at)
{
    uint64_t byte = thread * (THREAD_BITS / 8) + at / 8;
    if (at >= THREAD_BITS + LOOK_AHEAD_BITS || byte >= in->n_bytes)
        return 0;
    return in->encoded[byte] >> (7 - at % 8) & 1;
}

static unsigned loaded_byte(const published_arrays *in, uint64_t thread, unsigned at)
{
    unsigned value = 0;
    for (unsigned i = 0; i < 8; i++)
        value = value * 2 + loaded_bit(in, thread, at + i);
    return value;
}

static int next_symbol(const published_arrays *in, uint64_t thread, unsigned *at, unsigned *symbol)
{
    unsigned value = in->luts[loaded_byte(in, thread, *at)];
    if (value >= 240) {
        unsigned table = 256 - value;
        if (table >= in->n_luts - 1)
            return TABLE_OUTSIDE;
        value = in->luts[table * 256 + loaded_byte(in, thread, *at + 8)];
    }
    unsigned length = in->luts[(in->n_luts - 1) * 256 + value];
    if (!length)
        return NO_PROGRESS;
    *symbol = value;
    *at += length;
    return 0;
}

static unsigned gap_of(const published_arrays *in, uint64_t thread)
{
    return thread % 2 ? in->gaps[thread / 2] & 15 : in->gaps[thread / 2] >> 4;
}

static uint64_t position_of(const published_arrays *in, uint64_t block)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value * 256 + in->output_positions[block * 8 + (uint64_t)i];
    return value;
}

// The first pass. Threads behind the end decode what is not there; the sums of those before do not depend on them.
static int count_codes(const published_arrays *in, uint64_t thread, uint64_t *count)
{
    unsigned at = gap_of(in, thread), symbol;
    *count = 0;
    while (at < THREAD_BITS && thread * THREAD_BITS + at < in->n_bytes * 8) {
        int broken = next_symbol(in, thread, &at, &symbol);
        if (broken)
            return broken;
        ++*count;
    }
    return 0;
}

static int write_codes(const published_arrays *in, uint64_t thread, uint64_t first, uint64_t end, uint8_t *out)
{
    unsigned at = gap_of(in, thread), symbol;
    for (uint64_t i = first; i < end; i++) {
        int broken = next_symbol(in, thread, &at, &symbol);
        if (broken)
            return broken;
        unsigned nibble = in->packed_other_4bits[i / 2];
        nibble = i % 2 ? nibble & 15 : nibble >> 4;
        out[i] = (uint8_t)(nibble / 8 * 128 + symbol * 8 + nibble % 8);
    }
    return 0;
}

static int run_block(const published_arrays *in, uint64_t block, uint32_t threads, uint64_t *counts, uint8_t *out)
{
    uint64_t begin = position_of(in, block), end = position_of(in, block + 1), place = begin;
    for (uint32_t t = 0; t < threads; t++) {
        int broken = count_codes(in, block * threads + t, &counts[t]);
        if (broken)
            return broken;
    }
    for (uint32_t t = 0; t < threads; t++) {
        uint64_t stop = place + counts[t];
        if (stop > in->n_elements) // the last byte's padding
            stop = in->n_elements;
        int broken = write_codes(in, block * threads + t, place, stop, out);
        if (broken)
            return broken;
        place = stop;
    }
    return place == end ? 0 : PLACE_MISMATCH;
}

int published_kernel_decode(const published_arrays *in, uint32_t threads_per_block, uint8_t *out)
{
    uint64_t block_bytes = (uint64_t)threads_per_block * 8, blocks = (in->n_bytes + block_bytes - 1) / block_bytes;
    if (in->n_positions != blocks + 1 || in->n_gaps * 2 < blocks * threads_per_block)
        return GRID_MISMATCH;
    uint64_t *counts = calloc(threads_per_block, sizeof *counts);
    int broken = counts ? 0 : NOT_WRITTEN;
    for (uint64_t block = 0; !broken && block < blocks; block++)
        broken = run_block(in, block, threads_per_block, counts, out);
    free(counts);
    if (!broken && position_of(in, blocks) != in->n_elements)
        broken = NOT_WRITTEN;
    return broken;
}
