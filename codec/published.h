// The published ECF8 format, version 0.2.0 (arXiv 2510.02676): reading and writing one group of E4M3 weights.
//
// A group is the weights of one or several layers, laid end to end. Its exponents are a Huffman stream that a GPU
// decodes with a thread for each 8 bytes: `gaps` says how many bits of a thread's bytes belong to a code that began
// before, `positions` which weight each block of 512 threads begins with. docs/FORMAT.md, "The published format",
// has the layout. It holds no checksum: what ECF8_VERIFY can find here is said at ecf8_published_decode.
//
// The rules of ecf8.h hold: nothing is allocated, nothing global is written, every byte read is hostile until checked,
// and a checked group and a decoder may be used by any number of threads at once.
#ifndef ECF8_PUBLISHED_H
#define ECF8_PUBLISHED_H

#include <stdbool.h>

#include "codec/ecf8.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ECF8_PUBLISHED_THREAD_BYTES = 8,          // of the stream, for a thread
    ECF8_PUBLISHED_THREADS = 512,             // of a block, as the published encoder writes; readers take others
    ECF8_PUBLISHED_MAX_CODE_BITS = 16,        // of a code
    ECF8_PUBLISHED_MAX_ROWS = 18,             // of luts: a root, 16 that bytes 240..255 can name, the lengths
    ECF8_PUBLISHED_MAX_COUNT = INT32_MAX - 1, // weights of a group: the published decoder counts in 32 bits, in pairs
};

// The buffers of a group, by the published names. split_positions is not among them: it says which layer a weight
// belongs to, which decoding need not know.
typedef enum ecf8_published_part {
    ECF8_PUBLISHED_LUTS = 0, // luts: u8 [rows, 256]
    ECF8_PUBLISHED_ENCODED,  // encoded: the exponents' codes, most significant bit first
    ECF8_PUBLISHED_NIBBLES,  // packed_other_4bits: sign << 3 | mantissa, two weights a byte, the first in the high half
    ECF8_PUBLISHED_GAPS,     // gaps: 4 bits a thread, the first in the high half
    ECF8_PUBLISHED_POSITIONS, // output_positions: u64 little endian, one a block, then the count of weights
    ECF8_PUBLISHED_PARTS,
} ecf8_published_part;

// "luts", "encoded", ...; NULL for a number that is none.
ECF8_API const char *ecf8_published_part_name(ecf8_published_part part);

typedef struct ecf8_published_buffer {
    const uint8_t *data; // may be NULL where bytes is 0
    uint64_t bytes;
} ecf8_published_buffer;

typedef struct ecf8_published_error {
    ecf8_status status;
    ecf8_published_part part; // where offset_bytes counts from
    uint64_t offset_bytes;
    uint64_t block;   // of threads, or ECF8_NO_TILE
    const char *what; // what was expected; lives for ever
} ecf8_published_error;

// A checked group. Borrowed from the buffers, which must outlive it and not change.
typedef struct ecf8_published {
    ecf8_published_buffer parts[ECF8_PUBLISHED_PARTS];
    uint64_t count;       // weights
    uint64_t block_count; // of threads
    uint32_t block_bytes; // of the stream: threads x 8
    uint32_t tables;      // rows of luts less the lengths
} ecf8_published;

// ---------------------------------------------------------------- reading

// Checks the sizes of the buffers against each other, the tables and the positions, in time proportional to tables and
// positions. `threads` is threads_per_block of the model's config: a power of two from 2 to 1024.
// ECF8_ERR_HEADER: sizes do not fit each other, or the count is above ECF8_PUBLISHED_MAX_COUNT; ECF8_ERR_TABLE;
// ECF8_ERR_DIRECTORY: positions that are out of order or further apart than a block can hold codes.
// `error` may be NULL.
ECF8_API ecf8_status ecf8_published_open(const ecf8_published_buffer parts[ECF8_PUBLISHED_PARTS], uint32_t threads,
                                         ecf8_published *group, ecf8_published_error *error);

enum {
    ECF8_PUBLISHED_FAST_BITS = 12,
    ECF8_PUBLISHED_DECODER_BYTES = (8 << ECF8_PUBLISHED_FAST_BITS) + (ECF8_PUBLISHED_MAX_ROWS - 1) * 512 + 64,
};

typedef struct ecf8_published_decoder {
    ecf8_published group;
    const uint64_t *fast;        // [1 << FAST_BITS]: the whole codes that begin a window of so many bits
    const uint16_t (*slow)[256]; // the tables of luts, cleaned
} ecf8_published_decoder;

// Builds the decoding tables in `memory` of at least ECF8_PUBLISHED_DECODER_BYTES, any alignment, which must live as
// long as the decoder. There is nothing to free.
ECF8_API ecf8_status ecf8_published_decoder_init(ecf8_published_decoder *decoder, const ecf8_published *group,
                                                 void *memory, size_t memory_bytes, ecf8_published_error *error);

// Decodes weights first .. first + count - 1, a byte each. Blocks that the range meets are decoded from their
// beginning. ECF8_ERR_STREAM: a code that luts does not know, a block that does not end where the next begins, or a
// stream that does not end with the last weight. With ECF8_VERIFY the gaps of the blocks that are decoded to their end
// are compared with the codes too (a fault is ECF8_ERR_PADDING); changed bits that leave all this in order are not
// found: the format has no checksum.
// On an error the content of `out` is undefined. Uses 33 KiB of stack.
ECF8_API ecf8_status ecf8_published_decode(const ecf8_published_decoder *decoder, uint64_t first, uint64_t count,
                                           void *out, uint64_t out_bytes, unsigned flags, ecf8_published_error *error);

// ---------------------------------------------------------------- writing

// The weights of a group come in pieces (its layers) and pass twice: to be counted, then to be packed.
//
//     ecf8_published_plan plan = {0};
//     ecf8_published_count(&plan, weights, n);                    for each piece
//     ecf8_published_decide(&plan, &error);                       plan.bytes[] are the sizes of the buffers
//     ecf8_published_packer packer;
//     ecf8_published_pack_begin(&packer, &plan, buffers);
//     ecf8_published_pack(&packer, weights, n);                   for each piece, the same as before
//     ecf8_published_pack_end(&packer, &error);
//
// The same weights give the same bytes, however they were cut.
typedef struct ecf8_published_plan {
    uint64_t count;
    uint64_t histogram[16]; // of exponents
    uint8_t lengths[16];    // of their codes; 0: does not occur
    uint16_t codes[16];
    uint64_t encoded_bits;
    uint64_t bytes[ECF8_PUBLISHED_PARTS];
} ecf8_published_plan;

ECF8_API void ecf8_published_count(ecf8_published_plan *plan, const void *weights, uint64_t count);

// Chooses the code and the sizes. ECF8_ERR_ARGUMENT: the count is 0, odd or above ECF8_PUBLISHED_MAX_COUNT, which the
// format cannot hold.
ECF8_API ecf8_status ecf8_published_decide(ecf8_published_plan *plan, ecf8_published_error *error);

typedef struct ecf8_published_packer {
    const ecf8_published_plan *plan;
    uint8_t *parts[ECF8_PUBLISHED_PARTS];
    uint64_t done;      // weights packed
    uint64_t word;      // the current thread's 8 bytes, filled from the top
    uint32_t used_bits; // of them
    uint64_t thread;    // its number
    uint8_t half;       // a weight that waits for its other half of a pair
    bool has_half;
    uint32_t pairs[256]; // code of two exponents (first in the low half), left justified; its length in the low 5 bits
} ecf8_published_packer;

// `buffers` have plan->bytes each. The plan must live as long as the packer.
ECF8_API void ecf8_published_pack_begin(ecf8_published_packer *packer, const ecf8_published_plan *plan,
                                        uint8_t *const buffers[ECF8_PUBLISHED_PARTS]);
// ECF8_ERR_ARGUMENT: more weights than were counted, or others.
ECF8_API ecf8_status ecf8_published_pack(ecf8_published_packer *packer, const void *weights, uint64_t count,
                                         ecf8_published_error *error);
ECF8_API ecf8_status ecf8_published_pack_end(ecf8_published_packer *packer, ecf8_published_error *error);

#ifdef __cplusplus
}
#endif

#endif
