// The published format, 0.2.0: what is written decodes by the reader of libecf8 and by an independent one; files that
// lie are refused. The published encoder's own files are decoded by test_published_model.
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/published.h"
#include "tests/unit/published_kernel.h"

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Exponents that fall off by halves from 8, with `spread` of 256 weights of any bits: codes of 1 to 12 bits.
static void fill(uint8_t *weights, uint64_t count, unsigned spread, uint64_t seed)
{
    uint64_t state = seed * 977 + 1;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t r = random_next(&state);
        unsigned fall = r >> 20 & 0x1ff ? (unsigned)__builtin_ctzll(r >> 20 & 0x1ff) : 8;
        weights[i] = (uint8_t)((r & 0x87) | (8 - fall) << 3);
        if ((r >> 40 & 255) < spread)
            weights[i] = (uint8_t)(r >> 50);
    }
}

typedef struct group {
    ecf8_published_plan plan;
    uint8_t *parts[ECF8_PUBLISHED_PARTS];
    ecf8_published_buffer buffers[ECF8_PUBLISHED_PARTS];
} group;

// Packs in pieces of `piece` weights.
static void make_group(group *g, const uint8_t *weights, uint64_t count, uint64_t piece)
{
    ecf8_published_packer packer;
    ecf8_published_error error;
    *g = (group){0};
    for (uint64_t i = 0; i < count; i += piece)
        ecf8_published_count(&g->plan, weights + i, count - i < piece ? count - i : piece);
    assert_int_equal(ecf8_published_decide(&g->plan, &error), ECF8_OK);
    for (int i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        g->parts[i] = malloc(g->plan.bytes[i]); // exact, so that a sanitizer sees a byte too far
        assert_non_null(g->parts[i]);
        g->buffers[i] = (ecf8_published_buffer){g->parts[i], g->plan.bytes[i]};
    }
    ecf8_published_pack_begin(&packer, &g->plan, g->parts);
    for (uint64_t i = 0; i < count; i += piece)
        assert_int_equal(ecf8_published_pack(&packer, weights + i, count - i < piece ? count - i : piece, &error),
                         ECF8_OK);
    assert_int_equal(ecf8_published_pack_end(&packer, &error), ECF8_OK);
}

static void free_group(group *g)
{
    for (int i = 0; i < ECF8_PUBLISHED_PARTS; i++)
        free(g->parts[i]);
}

// Opens and decodes all of it. `out` may be NULL: memory of the exact size is used.
static ecf8_status decode_all(const ecf8_published_buffer *buffers, uint32_t threads, uint8_t *out, uint64_t out_bytes,
                              unsigned flags, ecf8_published_error *error)
{
    static uint8_t memory[ECF8_PUBLISHED_DECODER_BYTES];
    ecf8_published view;
    ecf8_published_decoder decoder;
    ecf8_status status = ecf8_published_open(buffers, threads, &view, error);
    if (!status)
        status = ecf8_published_decoder_init(&decoder, &view, memory, sizeof memory, error);
    if (!status)
        status = ecf8_published_decode(&decoder, 0, view.count, out, out_bytes, flags, error);
    return status;
}

static void check_both_readers(const uint8_t *weights, uint64_t count, uint64_t piece)
{
    group g;
    ecf8_published_error error = {0};
    uint8_t *out = malloc(count);
    assert_non_null(out);
    make_group(&g, weights, count, piece);
    memset(out, 0x5a, count);
    assert_int_equal(decode_all(g.buffers, ECF8_PUBLISHED_THREADS, out, count, ECF8_VERIFY, &error), ECF8_OK);
    assert_memory_equal(out, weights, count);
    memset(out, 0x5a, count);
    published_arrays arrays = {.luts = g.parts[ECF8_PUBLISHED_LUTS],
                               .encoded = g.parts[ECF8_PUBLISHED_ENCODED],
                               .packed_other_4bits = g.parts[ECF8_PUBLISHED_NIBBLES],
                               .gaps = g.parts[ECF8_PUBLISHED_GAPS],
                               .output_positions = g.parts[ECF8_PUBLISHED_POSITIONS],
                               .n_luts = (uint32_t)(g.plan.bytes[ECF8_PUBLISHED_LUTS] / 256),
                               .n_bytes = g.plan.bytes[ECF8_PUBLISHED_ENCODED],
                               .n_gaps = g.plan.bytes[ECF8_PUBLISHED_GAPS],
                               .n_positions = g.plan.bytes[ECF8_PUBLISHED_POSITIONS] / 8,
                               .n_elements = count};
    assert_int_equal(published_kernel_decode(&arrays, ECF8_PUBLISHED_THREADS, out), 0);
    assert_memory_equal(out, weights, count);
    free_group(&g);
    free(out);
}

static void test_both_readers(void **state)
{
    (void)state;
    static const uint64_t counts[] = {2, 4, 62, 64, 128, 1000, 30000, 32766, 65536, 200000};
    static const unsigned spreads[] = {0, 1, 16, 256};
    static uint8_t weights[200000];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t k = 0; k < sizeof spreads / sizeof *spreads; k++) {
            fill(weights, counts[i], spreads[k], i * 4 + k);
            check_both_readers(weights, counts[i], counts[i]);
            check_both_readers(weights, counts[i], counts[i] > 9 ? counts[i] / 7 | 1 : 1); // odd pieces
        }
}

// Every length modulo a block's bits, so that streams end at, before and behind the ends of bytes, threads and blocks.
static void test_ends(void **state)
{
    (void)state;
    static uint8_t weights[33000];
    memset(weights, 0x38, sizeof weights); // one exponent: a bit each
    for (uint64_t count = 2; count < 200; count += 2)
        check_both_readers(weights, count, count);
    for (uint64_t count = 32640; count < 32900; count += 2)
        check_both_readers(weights, count, 1001);
    fill(weights, sizeof weights, 16, 3);
    for (uint64_t count = 12000; count < 12400; count += 2) // about where a block of mixed codes ends
        check_both_readers(weights, count, count);
}

// The published encoder leaves a block's position, and its gap, out where only a byte of the end of a code lies in it.
static void test_position_left_out(void **state)
{
    (void)state;
    // 32765 codes of one bit, then one of 9 bits, which ends in byte 4097.
    uint8_t luts[768] = {0}, gaps[512] = {0}, *encoded = calloc(4097, 1), *nibbles = calloc(16384, 1);
    uint64_t positions[3] = {0, 32766, 32766};
    ecf8_published_error error;
    assert_true(encoded && nibbles);
    memset(luts, 7, 128);      // 0: exponent 7
    memset(luts + 128, 8, 64); // 10: exponent 8
    luts[255] = 255;           // 11111111, then 0: exponent 9
    memset(luts + 256, 9, 128);
    luts[512 + 7] = 1, luts[512 + 8] = 2, luts[512 + 9] = 9;
    encoded[4095] = 0x07, encoded[4096] = 0xf8; // bits 32765..32772 set, 32773 clear
    const ecf8_published_buffer whole[] = {
        {luts, 768}, {encoded, 4097}, {nibbles, 16383}, {gaps, 512}, {(uint8_t *)positions, 24}};
    ecf8_published_buffer short_one[ECF8_PUBLISHED_PARTS];
    memcpy(short_one, whole, sizeof short_one);
    short_one[ECF8_PUBLISHED_POSITIONS].bytes = 16;
    uint8_t *out = malloc(32766), *same = malloc(32766);
    assert_true(out && same);
    assert_int_equal(decode_all(whole, 512, out, 32766, ECF8_VERIFY, &error), ECF8_OK);
    assert_int_equal(decode_all(short_one, 512, same, 32766, ECF8_VERIFY, &error), ECF8_OK);
    assert_memory_equal(out, same, 32766);
    assert_int_equal(out[32764], 7 << 3);
    assert_int_equal(out[32765], 9 << 3);
    short_one[ECF8_PUBLISHED_POSITIONS].bytes = 8;
    assert_int_equal(decode_all(short_one, 512, same, 32766, ECF8_VERIFY, &error), ECF8_ERR_HEADER);
    free(encoded);
    free(nibbles);
    free(out);
    free(same);
}

static void test_all_bytes(void **state)
{
    (void)state;
    uint8_t weights[256 * 9];
    for (unsigned i = 0; i < sizeof weights; i++)
        weights[i] = (uint8_t)(i * 7 + i / 256);
    check_both_readers(weights, sizeof weights, 100);
    for (unsigned byte = 0; byte < 256; byte++) {
        memset(weights, (int)byte, 130);
        check_both_readers(weights, 130, 33);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    enum { COUNT = 150000 };
    static uint8_t weights[COUNT], out[COUNT], memory[ECF8_PUBLISHED_DECODER_BYTES + 3];
    group g;
    ecf8_published view;
    ecf8_published_decoder decoder;
    ecf8_published_error error;
    fill(weights, COUNT, 4, 11);
    make_group(&g, weights, COUNT, COUNT);
    assert_int_equal(ecf8_published_open(g.buffers, 512, &view, &error), ECF8_OK);
    assert_int_equal(ecf8_published_decoder_init(&decoder, &view, memory + 3, sizeof memory - 4, &error),
                     ECF8_ERR_SPACE);
    assert_int_equal(ecf8_published_decoder_init(&decoder, &view, memory + 3, sizeof memory - 3, &error), ECF8_OK);
    uint64_t random = 5;
    for (int i = 0; i < 300; i++) {
        uint64_t first = random_next(&random) % COUNT, count = random_next(&random) % (COUNT - first + 1);
        if (i % 3 == 0)
            count = count % 100;
        memset(out, 0xa5, sizeof out);
        assert_int_equal(ecf8_published_decode(&decoder, first, count, out, count, ECF8_VERIFY, &error), ECF8_OK);
        assert_memory_equal(out, weights + first, count);
        for (uint64_t k = count; k < COUNT && k < count + 64; k++)
            assert_int_equal(out[k], 0xa5);
    }
    assert_int_equal(ecf8_published_decode(&decoder, COUNT, 0, NULL, 0, 0, &error), ECF8_OK);
    assert_int_equal(ecf8_published_decode(&decoder, 0, COUNT + 1, out, COUNT + 1, 0, &error), ECF8_ERR_ARGUMENT);
    assert_int_equal(ecf8_published_decode(&decoder, UINT64_MAX, 2, out, 2, 0, &error), ECF8_ERR_ARGUMENT);
    assert_int_equal(ecf8_published_decode(&decoder, 0, 10, out, 9, 0, &error), ECF8_ERR_SPACE);
    free_group(&g);
}

static void test_limits_of_writing(void **state)
{
    (void)state;
    ecf8_published_error error = {0};
    ecf8_published_plan plan = {0};
    const uint8_t weights[3] = {0x38, 0x40, 0x48};
    assert_int_equal(ecf8_published_decide(&plan, &error), ECF8_ERR_ARGUMENT); // nothing
    ecf8_published_count(&plan, weights, 3);
    assert_int_equal(ecf8_published_decide(&plan, &error), ECF8_ERR_ARGUMENT);
    assert_string_equal(error.what, "an even count of weights: ECF8 0.2.0 stores them in pairs");
    plan = (ecf8_published_plan){.count = UINT64_C(1) << 31, .histogram = {[7] = UINT64_C(1) << 31}};
    assert_int_equal(ecf8_published_decide(&plan, &error), ECF8_ERR_ARGUMENT);
    assert_string_equal(error.what, "fewer than 2^31 weights: ECF8 0.2.0 counts them in 32 bits");
    plan = (ecf8_published_plan){.count = INT32_MAX - 1, .histogram = {[7] = INT32_MAX - 1}};
    assert_int_equal(ecf8_published_decide(&plan, &error), ECF8_OK);
    assert_int_equal(plan.bytes[ECF8_PUBLISHED_ENCODED], (INT32_MAX - 1 + 7u) / 8);
}

// Weights that are not those that were counted: refused, and nothing is written past the buffers.
static void test_other_weights(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    static uint8_t weights[COUNT];
    group g;
    ecf8_published_packer packer;
    ecf8_published_error error;
    fill(weights, COUNT, 1, 2);
    make_group(&g, weights, COUNT, COUNT);
    uint8_t rare = 0;
    for (uint8_t e = 0; e < 16; e++)
        if (g.plan.lengths[e] > g.plan.lengths[rare >> 3])
            rare = (uint8_t)(e << 3);
    ecf8_published_pack_begin(&packer, &g.plan, g.parts);
    ecf8_status status = ECF8_OK;
    for (int i = 0; i < COUNT && !status; i++)
        status = ecf8_published_pack(&packer, &rare, 1, &error);
    assert_int_equal(status, ECF8_ERR_ARGUMENT);
    ecf8_published_pack_begin(&packer, &g.plan, g.parts);
    assert_int_equal(ecf8_published_pack(&packer, weights, COUNT - 2, &error), ECF8_OK);
    assert_int_equal(ecf8_published_pack_end(&packer, &error), ECF8_ERR_ARGUMENT);
    assert_int_equal(ecf8_published_pack(&packer, weights, 3, &error), ECF8_ERR_ARGUMENT);
    free_group(&g);
}

enum { LYING = 40000 };
static uint8_t lying_weights[LYING], lying_out[LYING];

static void expect_fault(const ecf8_published_buffer *buffers, ecf8_status status, ecf8_published_part part,
                         uint64_t offset)
{
    ecf8_published_error error = {0};
    assert_int_equal(decode_all(buffers, 512, lying_out, LYING, ECF8_VERIFY, &error), status);
    assert_int_equal(error.status, status);
    assert_int_equal(error.part, part);
    if (offset != UINT64_MAX)
        assert_int_equal(error.offset_bytes, offset);
    assert_non_null(error.what);
}

static void set_position(group *g, uint64_t block, uint64_t value)
{
    memcpy(g->parts[ECF8_PUBLISHED_POSITIONS] + block * 8, &value, 8);
}

static void test_lying_positions(void **state)
{
    (void)state;
    group g;
    uint64_t second, third;
    fill(lying_weights, LYING, 2, 8);
    make_group(&g, lying_weights, LYING, LYING);
    const uint64_t blocks = g.plan.bytes[ECF8_PUBLISHED_POSITIONS] / 8 - 1;
    assert_true(blocks >= 3);
    memcpy(&second, g.parts[ECF8_PUBLISHED_POSITIONS] + 8, 8);
    memcpy(&third, g.parts[ECF8_PUBLISHED_POSITIONS] + 16, 8);
    set_position(&g, 0, 1);
    expect_fault(g.buffers, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, 0);
    set_position(&g, 0, 0);
    set_position(&g, 1, third + 1);
    expect_fault(g.buffers, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, 8);
    set_position(&g, 1, UINT64_MAX);
    expect_fault(g.buffers, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, 0);
    set_position(&g, 1, second + 1);
    expect_fault(g.buffers, ECF8_ERR_STREAM, ECF8_PUBLISHED_ENCODED, UINT64_MAX);
    set_position(&g, 1, second - 1);
    expect_fault(g.buffers, ECF8_ERR_STREAM, ECF8_PUBLISHED_ENCODED, UINT64_MAX);
    set_position(&g, 1, 0);
    set_position(&g, 2, 32769);
    expect_fault(g.buffers, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, 8);
    set_position(&g, 1, second);
    set_position(&g, 2, third);
    set_position(&g, blocks, LYING - 2);
    expect_fault(g.buffers, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, blocks * 8);
    set_position(&g, blocks, LYING);
    ecf8_published_error error;
    assert_int_equal(decode_all(g.buffers, 512, lying_out, LYING, ECF8_VERIFY, &error), ECF8_OK); // put right
    free_group(&g);
}

static void test_lying_tables(void **state)
{
    (void)state;
    group g;
    fill(lying_weights, LYING, 2, 8);
    make_group(&g, lying_weights, LYING, LYING);
    const uint64_t rows = g.plan.bytes[ECF8_PUBLISHED_LUTS] / 256;
    assert_true(rows > 2); // some codes are longer than 8 bits
    uint8_t *luts = g.parts[ECF8_PUBLISHED_LUTS], *lengths = luts + (rows - 1) * 256, kept = luts[0x80];
    luts[0x80] = (uint8_t)(256 - (rows - 1)); // the lengths are no table
    expect_fault(g.buffers, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, 0x80);
    luts[0x80] = 240;
    expect_fault(g.buffers, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, 0x80);
    luts[0x80] = 16;
    expect_fault(g.buffers, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, 0x80);
    luts[0x80] = kept;
    luts[256 + 3] = 255; // a table named by a table
    expect_fault(g.buffers, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, 256 + 3);
    luts[256 + 3] = luts[256 + 2];
    for (unsigned e = 0; e < 16; e++) {
        const uint8_t length = lengths[e];
        if (!length)
            continue;
        lengths[e] = 17;
        expect_fault(g.buffers, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, (rows - 1) * 256 + e);
        lengths[e] = 0; // where the published decoder hangs
        expect_fault(g.buffers, ECF8_ERR_STREAM, ECF8_PUBLISHED_ENCODED, UINT64_MAX);
        lengths[e] = length;
    }
    free_group(&g);
}

static void test_lying_gaps(void **state)
{
    (void)state;
    group g;
    ecf8_published_error error;
    fill(lying_weights, LYING, 2, 8);
    make_group(&g, lying_weights, LYING, LYING);
    const uint64_t threads = g.plan.encoded_bits / 64; // whole ones
    for (uint64_t thread = 0; thread < threads; thread += thread < 20 || thread > threads - 20 ? 1 : 37)
        for (unsigned bit = 0; bit < 4; bit++) {
            const uint8_t flip = (uint8_t)(1u << bit << (thread % 2 ? 0 : 4));
            g.parts[ECF8_PUBLISHED_GAPS][thread / 2] ^= flip;
            assert_int_not_equal(decode_all(g.buffers, 512, lying_out, LYING, ECF8_VERIFY, &error), ECF8_OK);
            g.parts[ECF8_PUBLISHED_GAPS][thread / 2] ^= flip;
        }
    assert_int_equal(decode_all(g.buffers, 512, lying_out, LYING, ECF8_VERIFY, &error), ECF8_OK);
    free_group(&g);
}

static void test_lying_sizes(void **state)
{
    (void)state;
    group g;
    ecf8_published_error error;
    fill(lying_weights, LYING, 2, 8);
    make_group(&g, lying_weights, LYING, LYING);
    for (int part = 0; part < ECF8_PUBLISHED_PARTS; part++)
        for (uint64_t left = 0; left < g.plan.bytes[part];
             left += left < 20 || left + 20 > g.plan.bytes[part] ? 1 : 61) {
            ecf8_published_buffer cut[ECF8_PUBLISHED_PARTS];
            memcpy(cut, g.buffers, sizeof cut);
            uint8_t *exact = malloc(left ? left : 1);
            assert_non_null(exact);
            memcpy(exact, g.parts[part], left);
            cut[part] = (ecf8_published_buffer){exact, left};
            assert_int_not_equal(decode_all(cut, 512, lying_out, LYING, ECF8_VERIFY, &error), ECF8_OK);
            free(exact);
        }
    static const uint32_t threads[] = {0, 1, 3, 256, 1024, 2048, UINT32_MAX};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        assert_int_not_equal(decode_all(g.buffers, threads[i], lying_out, LYING, 0, &error), ECF8_OK);
    ecf8_published_buffer huge[ECF8_PUBLISHED_PARTS];
    memcpy(huge, g.buffers, sizeof huge);
    huge[ECF8_PUBLISHED_NIBBLES].bytes = UINT64_C(1) << 30; // 2^31 weights; refused before a byte is read
    expect_fault(huge, ECF8_ERR_HEADER, ECF8_PUBLISHED_NIBBLES, 0);
    free_group(&g);
}

// A flipped bit of the stream either gives other weights or is found; it is never followed outside.
static void test_flipped_stream(void **state)
{
    (void)state;
    group g;
    ecf8_published_error error;
    unsigned found = 0, tried = 0;
    fill(lying_weights, LYING, 2, 8);
    make_group(&g, lying_weights, LYING, LYING);
    for (uint64_t bit = 0; bit < g.plan.encoded_bits; bit += 211, tried++) {
        g.parts[ECF8_PUBLISHED_ENCODED][bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        ecf8_status status = decode_all(g.buffers, 512, lying_out, LYING, ECF8_VERIFY, &error);
        found += status != ECF8_OK;
        assert_true(status != ECF8_OK || memcmp(lying_out, lying_weights, LYING));
        g.parts[ECF8_PUBLISHED_ENCODED][bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    }
    assert_true(found > tried / 4); // most change a length, which gaps and positions give away
    free_group(&g);
}

// The published encoder ends a code with a mark's first bits and fills the mark's places with the entry before, or with
// 0 where there is none; where only the end of a code lies in the last block it leaves that block's position out.
static void test_published_habits(void **state)
{
    (void)state;
    uint8_t luts[512] = {0}, encoded[1] = {0}, nibbles[1] = {0x1a}, gaps[256] = {0}, out[2];
    uint64_t positions[2] = {0, 2};
    ecf8_published_error error;
    memset(luts + 64, 7, 64);   // 01: exponent 7; 00 is the mark, its places hold 0
    memset(luts + 128, 8, 128); // 1: exponent 8
    luts[256 + 7] = 2, luts[256 + 8] = 1;
    encoded[0] = 0x60; // 01 1, then the mark
    ecf8_published_buffer buffers[] = {
        {luts, 512}, {encoded, 1}, {nibbles, 1}, {gaps, 256}, {(uint8_t *)positions, 16}};
    assert_int_equal(decode_all(buffers, 512, out, 2, ECF8_VERIFY, &error), ECF8_OK);
    assert_int_equal(out[0], 7 << 3 | 1);
    assert_int_equal(out[1], 0x80 | 8 << 3 | 2);
    encoded[0] = 0x20; // 00: the mark before the last weight
    assert_int_equal(decode_all(buffers, 512, out, 2, ECF8_VERIFY, &error), ECF8_ERR_STREAM);
    assert_string_equal(ecf8_published_part_name(ECF8_PUBLISHED_GAPS), "gaps");
    assert_null(ecf8_published_part_name((ecf8_published_part)5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_readers),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_position_left_out),
        cmocka_unit_test(test_all_bytes),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_limits_of_writing),
        cmocka_unit_test(test_other_weights),
        cmocka_unit_test(test_lying_positions),
        cmocka_unit_test(test_lying_tables),
        cmocka_unit_test(test_lying_gaps),
        cmocka_unit_test(test_lying_sizes),
        cmocka_unit_test(test_flipped_stream),
        cmocka_unit_test(test_published_habits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
