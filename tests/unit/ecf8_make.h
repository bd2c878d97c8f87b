// Containers for the tests of libecf8: weights of a kind, encoded and decoded again.
#ifndef ECD_TESTS_ECF8_MAKE_H
#define ECD_TESTS_ECF8_MAKE_H

#include <stdlib.h>
#include <string.h>

#include "codec/format.h"

typedef enum ecf8_made {
    ECF8_MADE_BELL,  // exponents concentrated as in trained weights: coded
    ECF8_MADE_RARE,  // the same with one weight in 97 at random
    ECF8_MADE_NOISE, // every bit at random: raw
    ECF8_MADE_SAME,  // one value: constant
    ECF8_MADE_TWO,   // two neighbouring values: bytes shrink most
    ECF8_MADE_KINDS,
    ECF8_MADE_FEW, // one weight in 4999 at random: from some 70000 weights on, patches cost less than codes for them
} ecf8_made;

static inline uint64_t ecf8_made_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

// The exponent's place and width of a dtype.
static inline unsigned ecf8_made_shift(ecf8_dtype dtype)
{
    static const unsigned shifts[] = {0, 3, 2, 7, 10};
    return shifts[dtype];
}

static inline uint16_t ecf8_made_weight(ecf8_dtype dtype, ecf8_made kind, uint64_t *state)
{
    static const unsigned middles[] = {0, 9, 17, 121, 12}; // a likely exponent
    const uint64_t r = ecf8_made_random(state);
    const unsigned shift = ecf8_made_shift(dtype), bits = (unsigned)ecf8_dtype_bytes(dtype) * 8;
    const uint32_t mask = bits == 8 ? 0xff : 0xffff;
    if (kind == ECF8_MADE_SAME)
        return (uint16_t)(middles[dtype] << shift | 1);
    if (kind == ECF8_MADE_TWO)
        return (uint16_t)(middles[dtype] << shift | (r & 1));
    if (kind == ECF8_MADE_NOISE || (kind == ECF8_MADE_RARE && r % 97 == 0) || (kind == ECF8_MADE_FEW && r % 4999 == 0))
        return (uint16_t)(r >> 32 & mask);
    const unsigned down = (unsigned)__builtin_ctz((uint32_t)(r >> 32) | 0x80); // halves with each step, at most 7
    const uint32_t exponent = middles[dtype] + 1 - (down < middles[dtype] ? down : middles[dtype]);
    return (uint16_t)(((r >> 8 & 1) << (bits - 1)) | exponent << shift | (r & ((1U << shift) - 1)));
}

static inline uint8_t *ecf8_made_weights(uint64_t count, ecf8_dtype dtype, ecf8_made kind, uint64_t seed)
{
    uint64_t state = seed * 2 + 88172645463325253U;
    uint8_t *out = malloc(count * 2 + 1);
    for (uint64_t i = 0; out && i < count; i++) {
        const uint16_t w = ecf8_made_weight(dtype, kind, &state);
        if (ecf8_dtype_bytes(dtype) == 2)
            ecf8_store16(out + i * 2, w);
        else
            out[i] = (uint8_t)w;
    }
    return out;
}

// NULL on any failure; the caller frees the blob.
static inline uint8_t *ecf8_made_blob(const uint8_t *weights, uint64_t count, const ecf8_params *params,
                                      uint64_t *bytes)
{
    const uint64_t capacity = ecf8_encode_bound(count, params), work_bytes = ecf8_plan_bytes(count, params);
    uint8_t *blob = malloc(capacity), *work = malloc(work_bytes);
    if (!blob || !work || ecf8_encode(weights, count, params, work, work_bytes, blob, capacity, bytes)) {
        free(blob);
        blob = NULL;
    }
    free(work);
    return blob;
}

// Opens and decodes with verification: the first status that is not ECF8_OK. `tables` has ECF8_DECODER_MAX_BYTES.
static inline ecf8_status ecf8_made_decode(const uint8_t *blob, uint64_t bytes, ecf8_cpu cpu, void *tables, void *out,
                                           uint64_t out_bytes, ecf8_error *error)
{
    ecf8_view view;
    ecf8_decoder decoder;
    ecf8_status status = ecf8_open(blob, bytes, &view, error);
    if (!status)
        status = ecf8_decoder_init(&decoder, &view, tables, ECF8_DECODER_MAX_BYTES, cpu, error);
    return status ? status : ecf8_decode(&decoder, out, out_bytes, ECF8_VERIFY, error);
}

#endif
