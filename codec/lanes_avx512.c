// Decoding with AVX-512: 16 lanes a register, two tiles at once. Compiled with -mavx512{f,bw,dq,vl}; called only
// where the CPU has them. The tests also compile it over plain C (v512.h), with ECF8_V512_EMULATE and another name
// for the table.
#include "codec/convert.h"
#include "codec/lanes.h"
#include "codec/v512.h"

#ifndef ECF8_V512_KERNELS
#define ECF8_V512_KERNELS ecf8_kernels_avx512
#endif

enum { PARTS = ECF8_LANES / 16 };

typedef struct part {
    v512 window, valid;
} part;

static inline v512 step(part *p, const uint8_t **words, const uint16_t *entries, unsigned code_bits, bool pairs)
{
    const uint16_t wanting = v512_less(p->valid, v512_set(code_bits));
    const v512 next = v512_expand_words(wanting, *words);
    *words += 2 * (unsigned)__builtin_popcount(wanting);
    const v512 window = v512_or(p->window, v512_sllv(next, v512_sub(v512_set(16), p->valid)));
    const v512 entry = v512_gather(entries, v512_srl(window, 32 - code_bits));
    const v512 length = v512_and(pairs ? v512_srl(entry, 7) : entry, v512_set(15));
    p->window = v512_sllv(window, length);
    p->valid = v512_sub(v512_add_where(wanting, p->valid, v512_set(16)), length);
    return entry;
}

static inline __attribute__((always_inline)) void group(ecf8_stream *s, part parts[][PARTS], unsigned count,
                                                        unsigned code_bits, unsigned at, bool pairs)
{
    v512 quads[2][PARTS], odd[2][PARTS];
    const unsigned steps = pairs ? 2 : 4;
#pragma GCC unroll 4
    for (unsigned i = 0; i < steps; i++) {
#pragma GCC unroll 2
        for (unsigned p = 0; p < PARTS; p++)
#pragma GCC unroll 2
            for (unsigned k = 0; k < count; k++) {
                const v512 e = step(&parts[k][p], &s[k].lanes.words, s[k].entries, code_bits, pairs);
                if (i == 0)
                    quads[k][p] = e;
                else if (pairs || i == 2)
                    quads[k][p] = v512_halves(quads[k][p], e);
                else
                    odd[k][p] = i == 1 ? e : v512_halves(odd[k][p], e);
            }
    }
#pragma GCC unroll 2
    for (unsigned k = 0; k < count; k++) {
#pragma GCC unroll 2
        for (unsigned p = 0; p < PARTS; p++) {
            const v512 quad =
                pairs ? v512_or(v512_and(quads[k][p], v512_set(ECF8_PAIR_BITS * 0x10001U)),
                                v512_spread_nibbles(v512_load(s[k].plane + (size_t)at * (ECF8_GROUP / 2)), (int)p))
                      : v512_bytes(quads[k][p], odd[k][p]);
            v512_store(s[k].out + (size_t)at * ECF8_GROUP + p * 64, quad);
        }
    }
}

static inline __attribute__((always_inline)) void run(ecf8_stream *streams, unsigned count, unsigned code_bits,
                                                      unsigned groups, bool pairs)
{
    ecf8_stream s[2]; // copies, which need no reloading after each store of output
    part parts[2][PARTS];
    for (unsigned k = 0; k < count; k++) {
        s[k].lanes.words = streams[k].lanes.words;
        s[k].entries = streams[k].entries;
        s[k].plane = streams[k].plane;
        s[k].out = streams[k].out;
        for (unsigned p = 0; p < PARTS; p++) {
            parts[k][p].window = v512_load(streams[k].lanes.window + p * 16);
            parts[k][p].valid = v512_load(streams[k].lanes.valid + p * 16);
        }
    }
    for (unsigned g = 0; g < groups; g++)
        group(s, parts, count, code_bits, g, pairs);
    for (unsigned k = 0; k < count; k++) {
        streams[k].lanes.words = s[k].lanes.words;
        streams[k].plane += pairs ? groups * (size_t)(ECF8_GROUP / 2) : 0;
        streams[k].out += groups * (size_t)ECF8_GROUP;
        for (unsigned p = 0; p < PARTS; p++) {
            v512_store(streams[k].lanes.window + p * 16, parts[k][p].window);
            v512_store(streams[k].lanes.valid + p * 16, parts[k][p].valid);
        }
    }
}

static void pairs_avx512(ecf8_stream *streams, unsigned count, unsigned code_bits, unsigned groups)
{
    if (count == 2)
        run(streams, 2, code_bits, groups, true);
    else
        run(streams, 1, code_bits, groups, true);
}

static void singles_avx512(ecf8_stream *streams, unsigned count, unsigned code_bits, unsigned groups)
{
    if (count == 2)
        run(streams, 2, code_bits, groups, false);
    else
        run(streams, 1, code_bits, groups, false);
}

static void merge16_avx512(const uint8_t *symbols, const uint8_t *plane, ecf8_dtype dtype, uint16_t *out, size_t count)
{
    ecf8_merge16_body(symbols, plane, dtype, out, count);
}

#define VEC v512
#define VEC_BYTES 64U
#define V_LOAD v512_load
#define V_STORE v512_store
#define V_FILL(byte) v512_set((byte)*UINT32_C(0x01010101))
#define V_REPEAT v512_repeat
#define V_LOOK v512_look
#define V_AND v512_and
#define V_OR v512_or
#define V_XOR v512_xor
#define V_ADD v512_add_bytes
#define V_RIGHT4 v512_right4
#define V_LEFT4 v512_left4
#define V_ORDER v512_order
#define V_LOW v512_low
#define V_HIGH v512_high
#include "codec/convert_e4m3.inc"

const ecf8_kernels ECF8_V512_KERNELS = {pairs_avx512, singles_avx512, merge16_avx512, convert};
