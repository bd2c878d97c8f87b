// What ecf8.h promises: numbers that do not change, each error where it belongs, every changed bit and every truncation
// found in every mode and dtype, counts beyond 2^31, the stack that it says it uses.
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "codec/lanes.h"
#include "tests/unit/ecf8_make.h"

enum { MANY_PATCHED = 150000 };

static uint8_t tables[ECF8_DECODER_MAX_BYTES], out[1 << 20];

// ---------------------------------------------------------------- numbers

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *name;
    } errors[] = {
        {0, "ECF8_OK"},           {1, "ECF8_ERR_ARGUMENT"},   {2, "ECF8_ERR_SPACE"},
        {3, "ECF8_ERR_CPU"},      {10, "ECF8_ERR_TRUNCATED"}, {11, "ECF8_ERR_MAGIC"},
        {12, "ECF8_ERR_VERSION"}, {13, "ECF8_ERR_HEADER"},    {14, "ECF8_ERR_META_CHECKSUM"},
        {15, "ECF8_ERR_TABLE"},   {16, "ECF8_ERR_DIRECTORY"}, {17, "ECF8_ERR_PATCH"},
        {18, "ECF8_ERR_PADDING"}, {19, "ECF8_ERR_STREAM"},    {20, "ECF8_ERR_DATA_CHECKSUM"},
    };
    unsigned known = 0;
    for (int number = -1; number < 100; number++) {
        const char *expected = "unknown";
        for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++)
            if (errors[i].number == number)
                expected = errors[i].name;
        assert_string_equal(ecf8_status_name((ecf8_status)number), expected);
        known += strcmp(expected, "unknown") != 0;
    }
    assert_int_equal(known, sizeof errors / sizeof *errors);
    assert_int_equal(ECF8_OK, 0);
    assert_int_equal(ECF8_ERR_CPU, 3);
    assert_int_equal(ECF8_ERR_TRUNCATED, 10);
    assert_int_equal(ECF8_ERR_DATA_CHECKSUM, 20);

    assert_int_equal(ECF8_E4M3, 1);
    assert_int_equal(ECF8_E5M2, 2);
    assert_int_equal(ECF8_BF16, 3);
    assert_int_equal(ECF8_F16, 4);
    assert_int_equal(ECF8_MODE_RAW, 0);
    assert_int_equal(ECF8_MODE_CONSTANT, 1);
    assert_int_equal(ECF8_MODE_PAIRS, 2);
    assert_int_equal(ECF8_MODE_SINGLES, 3);
    assert_int_equal(ECF8_CPU_AUTO, 0);
    assert_int_equal(ECF8_CPU_SCALAR, 1);
    assert_int_equal(ECF8_CPU_AVX2, 2);
    assert_int_equal(ECF8_CPU_AVX512, 3);
    assert_int_equal(ECF8_FORM_NATIVE, 0);
    assert_int_equal(ECF8_FORM_BF16, 1);
    assert_int_equal(ECF8_FORM_F32, 2);
    assert_int_equal(ECF8_DENSITY_FAST, 0);
    assert_int_equal(ECF8_DENSITY_BEST, 1);
    assert_int_equal(ECF8_DENSITY_BALANCED, 2);
    assert_int_equal(ECF8_VERIFY, 1);
    assert_int_equal(ecf8_version(), ECF8_VERSION);
    assert_int_equal(ECF8_VERSION >> 16, 1); // the soname
}

// ---------------------------------------------------------------- errors

typedef struct coded {
    uint8_t *weights, *blob;
    uint64_t bytes, meta_end, words;
} coded;

static coded make(ecf8_dtype dtype, ecf8_made kind, ecf8_density density, uint64_t count)
{
    const ecf8_params params = {dtype, 0, 0, density, 640};
    coded c = {.weights = ecf8_made_weights(count, dtype, kind, count + kind)};
    ecf8_view view;
    c.blob = ecf8_made_blob(c.weights, count, &params, &c.bytes);
    assert_non_null(c.blob);
    assert_int_equal(ecf8_open(c.blob, c.bytes, &view, NULL), ECF8_OK);
    c.meta_end = view.plane ? (uint64_t)(view.plane - c.blob) : c.bytes;
    c.words = view.words ? (uint64_t)(view.words - c.blob) : c.bytes;
    return c;
}

static void drop(coded *c)
{
    free(c->weights);
    free(c->blob);
}

static void seal(coded *c)
{
    ecf8_store32(c->blob + ECF8_AT_META_CRC, ecf8_meta_crc(c->blob, c->meta_end));
}

static void expect_error(coded *c, uint64_t bytes, ecf8_status status, uint64_t offset_bytes, uint64_t tile)
{
    ecf8_error error = {0};
    assert_int_equal(ecf8_made_decode(c->blob, bytes, ECF8_CPU_AUTO, tables, out, sizeof out, &error), status);
    assert_int_equal(error.status, status);
    assert_int_equal(error.offset_bytes, offset_bytes);
    assert_true(error.tile == tile);
    assert_true(!status || (error.what && strlen(error.what) > 5));
}

// The first tile with a patch.
static uint64_t patched_tile(const ecf8_view *view)
{
    uint64_t tile = 0;
    while (ecf8_entry_of(view->directory, tile + 1).patch_begin == 0)
        tile++;
    return tile;
}

// One way to each number, with the place that it names.
static void test_errors(void **state)
{
    (void)state;
    coded c = make(ECF8_E4M3, ECF8_MADE_FEW, ECF8_DENSITY_FAST, MANY_PATCHED);
    ecf8_view view;
    ecf8_decoder decoder;
    ecf8_error error;
    assert_int_equal(ecf8_open(c.blob, c.bytes, &view, NULL), ECF8_OK);
    assert_int_equal(view.mode, ECF8_MODE_PAIRS);
    assert_true(view.patch_count > 0);
    const uint64_t directory = (uint64_t)(view.directory - c.blob), patches = (uint64_t)(view.patches - c.blob);
    const uint64_t table = (uint64_t)(view.tables - c.blob);
    const uint64_t none = ECF8_NO_TILE;

    assert_int_equal(ecf8_open(NULL, 1, &view, &error), ECF8_ERR_ARGUMENT);
    assert_int_equal(ecf8_decoder_init(&decoder, &view, tables, 100, ECF8_CPU_AUTO, &error), ECF8_ERR_SPACE);
    assert_int_equal(ecf8_decoder_init(&decoder, &view, tables, sizeof tables, (ecf8_cpu)9, &error), ECF8_ERR_CPU);
    assert_int_equal(ecf8_decoder_init(&decoder, &view, tables, sizeof tables, ECF8_CPU_SCALAR, &error), ECF8_OK);
    assert_int_equal(ecf8_decode(&decoder, out, MANY_PATCHED - 1, 0, &error), ECF8_ERR_SPACE);
    assert_int_equal(ecf8_decode(&decoder, out, MANY_PATCHED, 2, &error), ECF8_ERR_ARGUMENT);
    assert_int_equal(ecf8_decode_weights(&decoder, MANY_PATCHED, 1, NULL, out, 1, 0, NULL), ECF8_ERR_ARGUMENT);
    assert_int_equal(ecf8_decode_weights(&decoder, MANY_PATCHED, 0, NULL, NULL, 0, 0, NULL), ECF8_OK);

    expect_error(&c, 63, ECF8_ERR_TRUNCATED, 63, none);
    expect_error(&c, c.bytes - 1, ECF8_ERR_TRUNCATED, c.bytes - 1, none);
    c.blob[0] ^= 1;
    expect_error(&c, c.bytes, ECF8_ERR_MAGIC, 0, none);
    c.blob[0] ^= 1;
    c.blob[4] = 2;
    expect_error(&c, c.bytes, ECF8_ERR_VERSION, 4, none);
    c.blob[4] = 1;
    c.blob[6] = 4;
    expect_error(&c, c.bytes, ECF8_ERR_HEADER, 5, none);
    c.blob[6] = ECF8_MODE_PAIRS;
    c.blob[table] ^= 1;
    expect_error(&c, c.bytes, ECF8_ERR_META_CHECKSUM, 60, none);
    seal(&c);
    expect_error(&c, c.bytes, ECF8_ERR_TABLE, table, none);
    c.blob[table] ^= 1;
    c.blob[directory] = 1;
    seal(&c);
    expect_error(&c, c.bytes, ECF8_ERR_DIRECTORY, directory, 0);
    c.blob[directory] = 0;
    const uint16_t place = ecf8_load16(c.blob + patches);
    ecf8_store16(c.blob + patches, 60000);
    seal(&c);
    expect_error(&c, c.bytes, ECF8_ERR_PATCH, patches, patched_tile(&view));
    ecf8_store16(c.blob + patches, place);
    seal(&c);
    c.blob[c.words] ^= 0x80; // a lane's first code: its later ones shift, and what is left over is not zero
    c.blob[c.words + 1] ^= 0x80;
    const ecf8_status status = ecf8_made_decode(c.blob, c.bytes, ECF8_CPU_AUTO, tables, out, sizeof out, &error);
    assert_true(status == ECF8_ERR_STREAM || status == ECF8_ERR_PATCH || status == ECF8_ERR_DATA_CHECKSUM);
    assert_int_equal(error.tile, 0);
    c.blob[c.words] ^= 0x80;
    c.blob[c.words + 1] ^= 0x80;
    c.blob[c.meta_end] ^= 1; // a mantissa
    expect_error(&c, c.bytes, ECF8_ERR_DATA_CHECKSUM, directory + 12, 0);
    c.blob[c.meta_end] ^= 1;
    expect_error(&c, c.bytes, ECF8_OK, 0, 0);
    drop(&c);
}

// A container that is longer than it says, and one that has something where zeros belong.
static void test_padding(void **state)
{
    (void)state;
    coded c = make(ECF8_BF16, ECF8_MADE_BELL, ECF8_DENSITY_FAST, 1500);
    ecf8_error error;
    uint8_t *longer = calloc(1, c.bytes + 64);
    memcpy(longer, c.blob, c.bytes);
    assert_int_equal(ecf8_made_decode(longer, c.bytes + 64, ECF8_CPU_AUTO, tables, out, sizeof out, &error),
                     ECF8_ERR_PADDING);
    assert_int_equal(error.offset_bytes, c.bytes);
    c.blob[c.bytes - 1] |= ecf8_load64(c.blob + ECF8_AT_WORD_COUNT) % 32 ? 1 : 0;
    if (c.blob[c.bytes - 1])
        expect_error(&c, c.bytes, ECF8_ERR_PADDING, c.words + 2 * ecf8_load64(c.blob + ECF8_AT_WORD_COUNT),
                     ECF8_NO_TILE);
    free(longer);
    drop(&c);
}

// ---------------------------------------------------------------- every bit

// The blob's last byte stands before a page that cannot be read, so that a read too far is seen too.
static void flip_all(const coded *c, uint8_t *end, uint64_t *faults)
{
    uint8_t *data = end - c->bytes;
    ecf8_error error;
    for (ecf8_cpu cpu = ECF8_CPU_SCALAR; cpu <= ECF8_CPU_AVX512; cpu++) {
        if (!ecf8_kernels_of(cpu))
            continue;
        memcpy(data, c->blob, c->bytes);
        assert_int_equal(ecf8_made_decode(data, c->bytes, cpu, tables, out, sizeof out, &error), ECF8_OK);
        for (uint64_t bit = 0; bit < c->bytes * 8; bit++) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            const ecf8_status status = ecf8_made_decode(data, c->bytes, cpu, tables, out, sizeof out, &error);
            if (status == ECF8_OK)
                fail_msg("bit %llu of %llu bytes changed and nothing noticed", (unsigned long long)bit,
                         (unsigned long long)c->bytes);
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            ++*faults;
        }
    }
    for (uint64_t bytes = 0; bytes < c->bytes; bytes++) {
        memcpy(end - bytes, c->blob, bytes);
        assert_int_equal(ecf8_made_decode(end - bytes, bytes, ECF8_CPU_AUTO, tables, out, sizeof out, &error),
                         ECF8_ERR_TRUNCATED);
        ++*faults;
    }
}

static void test_every_bit_of_every_mode(void **state)
{
    (void)state;
    enum { PAGES = 4, PAGE = 4096 };
    uint8_t *map = mmap(NULL, (PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED && mprotect(map + PAGES * PAGE, PAGE, PROT_NONE) == 0);
    unsigned seen[5][4] = {0};
    uint64_t faults = 0;
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (ecf8_made kind = 0; kind < ECF8_MADE_KINDS; kind++)
            for (unsigned density = 0; density <= (dtype == ECF8_E4M3); density++) {
                coded c = make(dtype, kind, (ecf8_density)density, 779);
                assert_true(c.bytes < PAGES * PAGE);
                if (!seen[dtype][c.blob[ECF8_AT_MODE]]++ || kind == ECF8_MADE_RARE)
                    flip_all(&c, map + PAGES * PAGE, &faults);
                drop(&c);
            }
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++) {
        assert_true(seen[dtype][ECF8_MODE_RAW] && seen[dtype][ECF8_MODE_CONSTANT] && seen[dtype][ECF8_MODE_SINGLES]);
        assert_int_equal(seen[dtype][ECF8_MODE_PAIRS] != 0, dtype == ECF8_E4M3);
    }
    print_message("%llu changed bits and truncations found\n", (unsigned long long)faults);
    munmap(map, (PAGES + 1) * PAGE);
}

// The words and the plane of a tile with a patch: what lies under the patch is not seen in the decoded weights.
static void test_every_bit_of_a_patched_tile(void **state)
{
    (void)state;
    coded c = make(ECF8_E4M3, ECF8_MADE_FEW, ECF8_DENSITY_FAST, MANY_PATCHED);
    ecf8_view v;
    ecf8_decoder d;
    assert_int_equal(ecf8_open(c.blob, c.bytes, &v, NULL), ECF8_OK);
    assert_true(v.patch_count > 0);
    assert_int_equal(ecf8_decoder_init(&d, &v, tables, sizeof tables, ECF8_CPU_AUTO, NULL), ECF8_OK);
    const uint64_t tile = patched_tile(&v), first = tile * v.tile_weights;
    const uint64_t begin = c.words + 2 * ecf8_entry_of(v.directory, tile).word_offset;
    const uint64_t end = c.words + 2 * ecf8_entry_of(v.directory, tile + 1).word_offset;
    const uint64_t plane = (uint64_t)(v.plane - c.blob) + first / 2;
    uint64_t flips = 0;
    for (uint64_t at = plane; at < end; at = at + 1 == plane + v.tile_weights / 2 ? begin : at + 1)
        for (unsigned bit = 0; bit < 8; bit++, flips++) {
            c.blob[at] ^= (uint8_t)(1 << bit);
            assert_int_not_equal(
                ecf8_decode_weights(&d, first, v.tile_weights, NULL, out, sizeof out, ECF8_VERIFY, NULL), ECF8_OK);
            c.blob[at] ^= (uint8_t)(1 << bit);
        }
    assert_int_equal(flips, 8 * (v.tile_weights / 2 + end - begin));
    assert_int_equal(ecf8_decode_weights(&d, first, v.tile_weights, NULL, out, sizeof out, ECF8_VERIFY, NULL), ECF8_OK);
    drop(&c);
}

// ---------------------------------------------------------------- 2^31 + 1 weights

static const uint64_t MANY = (UINT64_C(1) << 31) + 1;

static void put_header(uint8_t *blob, ecf8_mode mode, uint64_t count)
{
    memcpy(blob, "ECF8", 4);
    blob[ECF8_AT_VERSION] = ECF8_FORMAT_VERSION;
    blob[ECF8_AT_DTYPE] = ECF8_E4M3;
    blob[ECF8_AT_MODE] = (uint8_t)mode;
    ecf8_store64(blob + ECF8_AT_COUNT, count);
    if (mode != ECF8_MODE_CONSTANT)
        ecf8_store32(blob + ECF8_AT_TILE_WEIGHTS, ECF8_MAX_TILE);
}

// The last 70000 weights, verified, two weights on both sides of 2^31 alone, and nothing beyond the end.
static void check_end(const uint8_t *blob, uint64_t bytes, uint8_t weight)
{
    ecf8_view view;
    ecf8_decoder d;
    ecf8_error error = {0};
    const uint64_t first = MANY - 70000;
    assert_int_equal(ecf8_open(blob, bytes, &view, &error), ECF8_OK);
    assert_true(view.count == MANY);
    assert_int_equal(ecf8_decoder_init(&d, &view, tables, sizeof tables, ECF8_CPU_AUTO, &error), ECF8_OK);
    memset(out, 0x5a, sizeof out);
    assert_int_equal(ecf8_decode_weights(&d, first, 70000, NULL, out, sizeof out, ECF8_VERIFY, &error), ECF8_OK);
    for (unsigned i = 0; i < 70000; i++)
        assert_int_equal(out[i], weight);
    assert_int_equal(out[70000], 0x5a);
    const ecf8_output f32 = {.form = ECF8_FORM_F32};
    assert_int_equal(ecf8_decode_weights(&d, MANY - 2, 2, &f32, out, 8, 0, &error), ECF8_OK);
    assert_int_equal(ecf8_decode_weights(&d, MANY - 2, 3, NULL, out, 8, 0, &error), ECF8_ERR_ARGUMENT);
    assert_int_equal(ecf8_decode(&d, out, sizeof out, 0, &error), ECF8_ERR_SPACE);
}

static uint8_t *map_sparse(uint64_t bytes)
{
    uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return map == MAP_FAILED ? NULL : map;
}

// Pages that were never written cost nothing: containers of gigabytes, of which only metadata and end are touched.
static void test_counts_beyond_31_bits(void **state)
{
    (void)state;
    const uint64_t tiles = (MANY - 1) / ECF8_MAX_TILE + 1, lane_words = 1024 / 16;
    uint8_t constant[64] = {0};
    put_header(constant, ECF8_MODE_CONSTANT, MANY);
    constant[ECF8_AT_CONSTANT] = 0x38;
    ecf8_store32(constant + ECF8_AT_META_CRC, ecf8_meta_crc(constant, 64));
    check_end(constant, 64, 0x38);

    static uint8_t tile[ECF8_MAX_TILE];
    const uint64_t raw_meta = ecf8_align_up(64 + tiles * 4), raw_bytes = raw_meta + MANY;
    uint8_t *blob = map_sparse(raw_bytes);
    if (!blob)
        skip(); // an address space too small
    put_header(blob, ECF8_MODE_RAW, MANY);
    for (uint64_t t = 0; t < tiles; t++)
        ecf8_store32(blob + 64 + t * 4, ecf8_crc32c(0, tile, t + 1 < tiles ? ECF8_MAX_TILE : 1));
    ecf8_store32(blob + ECF8_AT_META_CRC, ecf8_meta_crc(blob, raw_meta));
    check_end(blob, raw_bytes, 0);
    munmap(blob, raw_bytes);

    // Pairs: two codes of one bit, all of them 0, that is exponents (7, 7); the last tile is one group of one word a
    // lane.
    const uint64_t words = (tiles - 1) * lane_words * ECF8_LANES + ECF8_LANES;
    const ecf8_shape shape = {ECF8_E4M3, ECF8_MODE_PAIRS, MANY, words, ECF8_MAX_TILE, 1, 0};
    const ecf8_layout at = ecf8_layout_of(&shape);
    blob = map_sparse(at.total);
    if (!blob)
        skip();
    put_header(blob, ECF8_MODE_PAIRS, MANY);
    blob[ECF8_AT_CODE_BITS] = 1;
    blob[ECF8_AT_TABLE_COUNT] = 1;
    ecf8_store64(blob + ECF8_AT_WORD_COUNT, words);
    blob[at.tables + 0x77 / 2] = 0x10; // symbols 0x77 and 0x78
    blob[at.tables + 0x78 / 2] = 0x01;
    memset(tile, 7 << 3, sizeof tile);
    for (uint64_t t = 0; t <= tiles; t++) {
        uint8_t *entry = blob + at.directory + t * ECF8_ENTRY_BYTES;
        ecf8_store64(entry, t < tiles ? t * lane_words * ECF8_LANES : words);
        if (t < tiles)
            ecf8_store32(entry + 12, ecf8_crc32c(0, tile, t + 1 < tiles ? ECF8_MAX_TILE : ECF8_GROUP));
    }
    ecf8_store32(blob + ECF8_AT_META_CRC, ecf8_meta_crc(blob, at.meta_end));
    check_end(blob, at.total, 7 << 3);
    munmap(blob, at.total);
}

// What makes no sense has no size: counts whose product or size does not fit.
static void test_sizes_of_nonsense(void **state)
{
    (void)state;
    static const ecf8_params good = {ECF8_E4M3, 0, 0, ECF8_DENSITY_FAST, 0};
    ecf8_params p = good;
    assert_true(ecf8_encode_bound(MANY, &p) > MANY && ecf8_plan_bytes(MANY, &p) > 0);
    assert_true(ecf8_encode_bound(UINT64_MAX, &p) == 0 && ecf8_plan_bytes(UINT64_MAX, &p) == 0);
    p.dtype = (ecf8_dtype)5;
    assert_true(ecf8_encode_bound(10, &p) == 0 && ecf8_plan_bytes(10, &p) == 0);
    p = good, p.rows = 3, p.cols = 4;
    assert_true(ecf8_encode_bound(12, &p) && !ecf8_encode_bound(13, &p) && !ecf8_plan_bytes(13, &p));
    p.rows = UINT64_C(1) << 33, p.cols = UINT64_C(1) << 33;
    assert_true(ecf8_encode_bound(0, &p) == 0);
    p = good, p.tile_weights = 100;
    assert_true(ecf8_encode_bound(1000, &p) == 0);
    p = good, p.density = (ecf8_density)77;
    assert_true(ecf8_encode_bound(1000, &p) == 0 && ecf8_plan_bytes(1000, &p) == 0);
}

// ---------------------------------------------------------------- the stack

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { INSTRUMENTED = 1 };
#else
enum { INSTRUMENTED = 0 };
#endif
enum { STACK = 1 << 20, DECODING = 64 << 10, ENCODING = 96 << 10, OVERHEAD = 16 << 10 }; // ecf8.h, "Memory"

static coded shared;

static void *only_decode(void *argument)
{
    for (ecf8_cpu cpu = ECF8_CPU_SCALAR; cpu <= ECF8_CPU_AVX512; cpu++)
        if (ecf8_kernels_of(cpu))
            *(ecf8_status *)argument |= ecf8_made_decode(shared.blob, shared.bytes, cpu, tables, out, sizeof out, NULL);
    return NULL;
}

static void *only_encode(void *argument)
{
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (ecf8_density density = ECF8_DENSITY_FAST; density <= ECF8_DENSITY_BALANCED; density++) {
            const ecf8_params params = {dtype, 0, 0, density, 0};
            const uint64_t count = 200000 / ecf8_dtype_bytes(dtype);
            uint64_t bytes;
            uint8_t *blob = ecf8_made_blob(shared.weights, count, &params, &bytes);
            *(ecf8_status *)argument |= blob ? ECF8_OK : ECF8_ERR_SPACE;
            free(blob);
        }
    return NULL;
}

// Bytes of the stack that a thread wrote to.
static size_t stack_of(void *(*run)(void *))
{
    uint8_t *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(stack != MAP_FAILED);
    memset(stack, 0xa5, STACK);
    pthread_attr_t attributes;
    pthread_t thread;
    ecf8_status status = ECF8_OK;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstack(&attributes, stack, STACK), 0);
    assert_int_equal(pthread_create(&thread, &attributes, run, &status), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    assert_int_equal(status, ECF8_OK);
    size_t untouched = 0;
    while (untouched < STACK && stack[untouched] == 0xa5)
        untouched++;
    munmap(stack, STACK);
    return STACK - untouched;
}

static void test_stack(void **state)
{
    (void)state;
    if (INSTRUMENTED)
        skip();
    shared = make(ECF8_E4M3, ECF8_MADE_RARE, ECF8_DENSITY_FAST, 200000);
    const size_t decoding = stack_of(only_decode), encoding = stack_of(only_encode);
    print_message("stack: decoding %zu, encoding %zu bytes\n", decoding, encoding);
    assert_true(decoding < DECODING + OVERHEAD);
    assert_true(encoding < ENCODING + OVERHEAD);
    drop(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_every_bit_of_every_mode),
        cmocka_unit_test(test_every_bit_of_a_patched_tile),
        cmocka_unit_test(test_counts_beyond_31_bits),
        cmocka_unit_test(test_sizes_of_nonsense),
        cmocka_unit_test(test_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
