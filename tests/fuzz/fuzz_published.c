// libFuzzer target: a group of published ECF8. The input is a byte for the threads of a block, the sizes of the five
// buffers (24 bits each, taken modulo what is left) and the buffers. What opens is decoded whole and in parts, which
// must agree; an input that begins with 0xff is packed instead, and must come back.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/published.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

enum { MAX_COUNT = 1 << 20, HEAD_BYTES = 1 + 3 * ECF8_PUBLISHED_PARTS };

static void check_error(ecf8_status status, const ecf8_published_error *error)
{
    REQUIRE(error->status == status && error->what && (unsigned)error->part < ECF8_PUBLISHED_PARTS);
}

static void try_group(const ecf8_published_buffer *buffers, uint32_t threads)
{
    ecf8_published group;
    ecf8_published_decoder decoder;
    ecf8_published_error error = {0};
    ecf8_status status = ecf8_published_open(buffers, threads, &group, &error);
    if (status)
        check_error(status, &error);
    if (status || group.count > MAX_COUNT)
        return;
    uint8_t *memory = malloc(ECF8_PUBLISHED_DECODER_BYTES), *all = malloc(group.count + 1),
            *part = malloc(group.count / 3 + 1);
    REQUIRE(memory && all && part);
    REQUIRE(!ecf8_published_decoder_init(&decoder, &group, memory, ECF8_PUBLISHED_DECODER_BYTES, &error));
    status = ecf8_published_decode(&decoder, 0, group.count, all, group.count, ECF8_VERIFY, &error);
    if (status)
        check_error(status, &error);
    const uint64_t first = group.count / 3;
    // What is good as a whole is good in parts. The other way round only a part is looked at.
    ecf8_status again = ecf8_published_decode(&decoder, first, first, part, first, 0, &error);
    REQUIRE(status || (!again && !memcmp(part, all + first, first)));
    free(memory);
    free(all);
    free(part);
}

static void try_packing(const uint8_t *weights, size_t size)
{
    ecf8_published_plan plan = {0};
    ecf8_published_packer packer;
    ecf8_published_error error = {0};
    uint8_t *parts[ECF8_PUBLISHED_PARTS];
    ecf8_published_buffer buffers[ECF8_PUBLISHED_PARTS];
    ecf8_published group;
    ecf8_published_decoder decoder;
    const size_t cut = size / 3;
    ecf8_published_count(&plan, weights, size);
    if (ecf8_published_decide(&plan, &error)) {
        REQUIRE(size % 2 || !size);
        return;
    }
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        parts[i] = malloc(plan.bytes[i]);
        REQUIRE(parts[i]);
        buffers[i] = (ecf8_published_buffer){parts[i], plan.bytes[i]};
    }
    ecf8_published_pack_begin(&packer, &plan, parts);
    REQUIRE(!ecf8_published_pack(&packer, weights, cut, &error));
    REQUIRE(!ecf8_published_pack(&packer, weights + cut, size - cut, &error));
    REQUIRE(!ecf8_published_pack_end(&packer, &error));
    uint8_t *memory = malloc(ECF8_PUBLISHED_DECODER_BYTES), *out = malloc(size);
    REQUIRE(memory && out);
    REQUIRE(!ecf8_published_open(buffers, ECF8_PUBLISHED_THREADS, &group, &error));
    REQUIRE(!ecf8_published_decoder_init(&decoder, &group, memory, ECF8_PUBLISHED_DECODER_BYTES, &error));
    REQUIRE(!ecf8_published_decode(&decoder, 0, size, out, size, ECF8_VERIFY, &error));
    REQUIRE(!memcmp(out, weights, size));
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++)
        free(parts[i]);
    free(memory);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    ecf8_published_buffer buffers[ECF8_PUBLISHED_PARTS];
    uint8_t *copies[ECF8_PUBLISHED_PARTS];
    if (size && input[0] == 0xff) {
        try_packing(input + 1, size - 1);
        return 0;
    }
    if (size < HEAD_BYTES)
        return 0;
    const uint8_t *at = input + HEAD_BYTES;
    uint64_t left = size - HEAD_BYTES;
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        const uint8_t *s = input + 1 + 3 * i;
        const uint64_t bytes = (s[0] | s[1] << 8 | (uint64_t)s[2] << 16) % (left + 1);
        copies[i] = malloc(bytes + !bytes); // its exact size, so that the sanitizer sees a byte too far
        REQUIRE(copies[i]);
        memcpy(copies[i], at, bytes);
        buffers[i] = (ecf8_published_buffer){copies[i], bytes};
        at += bytes;
        left -= bytes;
    }
    try_group(buffers, UINT32_C(1) << (input[0] & 15));
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++)
        free(copies[i]);
    return 0;
}
