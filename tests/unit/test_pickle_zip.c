// Torch archives that lie: cut, flipped, wrong sizes, wrong checksums, entries over one another.
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "torch_writer.h"
#include "weights/checkpoint.h"

int pickle_archive_tests(void);

static const char path[] = "zip.bin";
static const float six[6] = {1, -2, 3, 4.5f, 5, 6};

// {"a": six floats, "b": six floats of storage 1}, as bytes of a file; the caller frees.
static uint8_t *small_file(bool deflated, size_t *size)
{
    static const pickled_tensor a = {
        .storage = "FloatStorage", .key = "0", .elements = 6, .dims = 1, .shape = {6}, .strides = {1}};
    pickled_tensor b = a;
    pickled p = {0};
    b.key = "1";
    PICKLE(&p, "\x80\x02}(");
    pickle_text(&p, "a");
    pickle_tensor(&p, &a);
    pickle_text(&p, "b");
    pickle_tensor(&p, &b);
    PICKLE(&p, "u.");
    const archived entries[] = {{"data.pkl", p.bytes, p.size, deflated},
                                {"data/0", six, sizeof six, deflated},
                                {"data/1", six, sizeof six, deflated}};
    write_archive(path, entries, 3);
    free(p.bytes);
    return read_bytes(path, size);
}

static ecd_status open_bytes(const uint8_t *bytes, size_t size, ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    unsigned sum = 0;
    *diag = (ecd_diag){0};
    write_bytes(path, bytes, size);
    ecd_status status = ecd_checkpoint_open(path, &cp, diag);
    for (size_t i = 0; !status && i < ecd_checkpoint_count(cp); i++) { // all of it can be read
        const ecd_tensor *tensor = ecd_checkpoint_tensor(cp, i);
        for (uint64_t k = 0; k < tensor->size_bytes; k++)
            sum += tensor->data[k];
    }
    ecd_checkpoint_close(cp);
    if (status ? status != ECD_DATA || !strstr(diag->what, "expected") || !diag->file[0] : sum == UINT32_MAX)
        fail_msg("status %d, file %s, \"%s\"", status, diag->file, diag->what);
    return status;
}

static void expect_fault(const uint8_t *bytes, size_t size, const char *part)
{
    ecd_diag diag;
    if (open_bytes(bytes, size, &diag) != ECD_DATA || !strstr(diag.what, part))
        fail_msg("wanted \"%s\", got \"%s\"", part, diag.what);
}

static void cut_at_every_byte(void **state)
{
    (void)state;
    size_t size;
    ecd_diag diag;
    uint8_t *bytes = small_file(false, &size);
    assert_int_equal(open_bytes(bytes, size, &diag), ECD_OK);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(open_bytes(bytes, cut, &diag), ECD_DATA);
    for (size_t cut = 1; cut < size; cut++) // the end is there, the beginning is not
        assert_int_equal(open_bytes(bytes + cut, size - cut, &diag), ECD_DATA);
    free(bytes);
    bytes = read_bytes(ECD_TEST_DATA "/models/dit_a_legacy/vae/diffusion_pytorch_model.bin", &size);
    assert_int_equal(open_bytes(bytes, size, &diag), ECD_OK);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(open_bytes(bytes, size / 64 * i + i, &diag), ECD_DATA);
    assert_int_equal(open_bytes(bytes, size - 1, &diag), ECD_DATA);
    free(bytes);
}

// A pickle that ends anywhere, in an archive that is sound.
static void pickle_cut_at_every_byte(void **state)
{
    (void)state;
    static const pickled_tensor a = {
        .storage = "FloatStorage", .key = "0", .elements = 6, .dims = 1, .shape = {6}, .strides = {1}};
    pickled p = {0};
    PICKLE(&p, "\x80\x02}(");
    pickle_text(&p, "a");
    pickle_tensor(&p, &a);
    PICKLE(&p, "u.");
    for (size_t cut = 0; cut < p.size; cut++) {
        const archived entries[] = {{"data.pkl", p.bytes, cut, false}, {"data/0", six, sizeof six, false}};
        ecd_checkpoint *cp;
        ecd_diag diag = {0};
        unlink(path);
        write_archive(path, entries, 2);
        assert_int_equal(ecd_checkpoint_open(path, &cp, &diag), ECD_DATA);
        assert_non_null(strstr(diag.what, "expected"));
    }
    free(p.bytes);
}

static void every_bit_flipped(void **state)
{
    (void)state;
    for (int deflated = 0; deflated < 2; deflated++) {
        size_t size, refused = 0;
        ecd_diag diag;
        uint8_t *bytes = small_file(deflated != 0, &size);
        for (size_t i = 0; i < 8 * size; i++) {
            bytes[i / 8] ^= (uint8_t)(1 << i % 8);
            refused += open_bytes(bytes, size, &diag) != ECD_OK; // which checks that a fault is a good one
            bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        }
        assert_true(refused > 4 * size); // the rest are times, attributes and values of weights
        free(bytes);
    }
}

// The central header (signature PK 1 2) or local one (PK 3 4) of an entry.
static uint8_t *header_of(uint8_t *bytes, size_t size, const char *name, bool local)
{
    size_t at_name = local ? 30 : 46, length = strlen(name);
    for (size_t i = 0; i + at_name + length <= size; i++)
        if (!memcmp(bytes + i, local ? "PK\3\4" : "PK\1\2", 4) && !memcmp(bytes + i + at_name, name, length))
            return bytes + i;
    fail_msg("no header of %s", name);
    abort(); // not reached: the compiler does not know
}

static void set32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

enum { CENTRAL_CRC = 16, CENTRAL_STORED = 20, CENTRAL_SIZE = 24, CENTRAL_METHOD = 10, CENTRAL_OFFSET = 42 };

static void lying_sizes(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {
        // stored, uncompressed
        {24, 23},
        {23, 24},
        {23, 23},
        {0, 0},
        {0, 24},
        {24, 0},
        {25, 25},
        {1 << 20, 1 << 20},
        {0xfffffffe, 0xfffffffe},
        {24, 0xfffffffe},
        {0xfffffffe, 24},
        {0xffffffff, 0xffffffff},
    };
    for (int deflated = 0; deflated < 2; deflated++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t size;
            ecd_diag diag;
            uint8_t *bytes = small_file(deflated != 0, &size);
            uint8_t *entry = header_of(bytes, size, "archive/data/0", false);
            uint32_t stored;
            memcpy(&stored, entry + CENTRAL_STORED, sizeof stored);
            if (!deflated || sizes[i][0] != 24)
                set32(entry + CENTRAL_STORED, sizes[i][0]);
            set32(entry + CENTRAL_SIZE, sizes[i][1]);
            if (open_bytes(bytes, size, &diag) == ECD_OK && !(deflated && sizes[i][1] == 24 && sizes[i][0] >= stored))
                fail_msg("accepted: sizes %u and %u%s", sizes[i][0], sizes[i][1], deflated ? ", deflated" : "");
            free(bytes);
        }
    for (int field = 18; field <= 28;
         field += 4) { // the local header's sizes and lengths: what they say is not believed
        size_t size;
        ecd_diag diag;
        uint8_t *bytes = small_file(false, &size);
        uint8_t *entry = header_of(bytes, size, "archive/data/1", true);
        set32(entry + (field == 26 ? 28 : field), 0x7ffffff0);
        ecd_status status = open_bytes(bytes, size, &diag);
        if (field == 26)
            assert_int_equal(status, ECD_DATA); // an extra field that leads out of the file
        free(bytes);
    }
}

static void wrong_checksums(void **state)
{
    (void)state;
    for (int deflated = 0; deflated < 2; deflated++) {
        size_t size;
        ecd_diag diag;
        uint8_t *bytes = small_file(deflated != 0, &size);
        uint8_t *entry = header_of(bytes, size, "archive/data.pkl", false);
        entry[CENTRAL_CRC] ^= 1;
        expect_fault(bytes, size, deflated ? "wrong size or checksum" : "wrong checksum");
        entry[CENTRAL_CRC] ^= 1;
        assert_int_equal(open_bytes(bytes, size, &diag), ECD_OK);
        if (!deflated) { // a tensor's name, in the pickle
            uint8_t *name = memmem(bytes, size, "X\1\0\0\0a", 6);
            assert_non_null(name);
            name[5] = 'c';
            expect_fault(bytes, size, "wrong checksum");
        } else {
            header_of(bytes, size, "archive/data/1", false)[CENTRAL_CRC] ^= 0x80;
            expect_fault(bytes, size, "wrong size or checksum");
        }
        free(bytes);
    }
}

static void refuse_pickle(const void *pickle, size_t size, const char *part)
{
    const archived entries[] = {{"data.pkl", pickle, size, true}, {"data/0", "x", 1, false}};
    size_t file_size;
    write_archive(path, entries, 2);
    uint8_t *bytes = read_bytes(path, &file_size);
    expect_fault(bytes, file_size, part);
    free(bytes);
}

// What torch_writer.h does not write.
static void short_numbers(void **state)
{
    (void)state;
    // A size by BININT, which is signed: -1.
    static const char negative[] = "\x80\x02}(X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storage"
                                   "ctorch\nByteStorage\nX\1\0\0\0000NK\1tQK\0J\xff\xff\xff\xff\x85K\1\x85tRu.";
    refuse_pickle(negative, sizeof negative - 1, "bad size 0");
    static const char stride[] = "\x80\x02}(X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storage"
                                 "ctorch\nByteStorage\nX\1\0\0\0000NK\1tQK\0K\1\x85N\x85tRu.";
    refuse_pickle(stride, sizeof stride - 1, "bad stride 0");
}

// A list that holds itself millions of times: memory without new values.
static void many_elements(void **state)
{
    (void)state;
    pickled p = {0};
    PICKLE(&p, "\x80\x02]q\0");
    for (int round = 0; round < 2; round++) {
        PICKLE(&p, "(");
        for (int i = 0; i < 2200000; i++)
            PICKLE(&p, "h\0");
        PICKLE(&p, "e");
    }
    PICKLE(&p, ".");
    refuse_pickle(p.bytes, p.size, "elements in the pickle");
    free(p.bytes);
}

static void too_large(void **state)
{
    (void)state;
    enum { SIZE = (1 << 26) + 1 };
    uint8_t *pickle = malloc(SIZE);
    assert_non_null(pickle);
    memset(pickle, 'N', SIZE);
    refuse_pickle(pickle, SIZE, "a pickle of 67108865 bytes");
    free(pickle);
}

static void unknown_methods(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = small_file(false, &size);
    header_of(bytes, size, "archive/data/0", false)[CENTRAL_METHOD] = 12; // bzip2
    expect_fault(bytes, size, "unknown compression");
    header_of(bytes, size, "archive/data/0", false)[CENTRAL_METHOD] = 0;
    header_of(bytes, size, "archive/data/0", false)[8] |= 1; // encrypted
    expect_fault(bytes, size, "unknown compression");
    free(bytes);
}

// Many entries that are all the same deflated bytes would take many times the file's size in memory.
static void overlapping_entries(void **state)
{
    (void)state;
    enum { FLOATS = 2000 };
    uint32_t *noise = malloc(FLOATS * sizeof *noise), seed = 1;
    pickled p = {0};
    pickled_tensor t = {.storage = "FloatStorage", .elements = FLOATS, .dims = 1, .shape = {FLOATS}, .strides = {1}};
    static const char *const keys[] = {"0", "1", "2"};
    for (int i = 0; i < FLOATS; i++)
        noise[i] = (seed = seed * 1664525 + 1013904223) & 0xffff; // half of it deflates
    PICKLE(&p, "\x80\x02}(");
    for (int i = 0; i < 3; i++) {
        t.key = keys[i];
        pickle_text(&p, keys[i]);
        pickle_tensor(&p, &t);
    }
    PICKLE(&p, "u.");
    const archived entries[] = {{"data.pkl", p.bytes, p.size, false},
                                {"data/0", noise, FLOATS * sizeof *noise, true},
                                {"data/1", six, 4, true},
                                {"data/2", six, 4, true}};
    write_archive(path, entries, 4);
    size_t size;
    uint8_t *bytes = read_bytes(path, &size);
    const uint8_t *first = header_of(bytes, size, "archive/data/0", false);
    for (int i = 1; i < 3; i++) {
        uint8_t *entry = header_of(bytes, size, i == 1 ? "archive/data/1" : "archive/data/2", false);
        memcpy(entry + 8, first + 8, 20); // flags, method, time, checksum, sizes
        memcpy(entry + CENTRAL_OFFSET, first + CENTRAL_OFFSET, 4);
    }
    expect_fault(bytes, size, "overlaps other entries");
    free(bytes);
    free(noise);
    free(p.bytes);
}

int pickle_archive_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_every_byte),   cmocka_unit_test(pickle_cut_at_every_byte),
        cmocka_unit_test(every_bit_flipped),   cmocka_unit_test(lying_sizes),
        cmocka_unit_test(wrong_checksums),     cmocka_unit_test(unknown_methods),
        cmocka_unit_test(overlapping_entries), cmocka_unit_test(short_numbers),
        cmocka_unit_test(many_elements),       cmocka_unit_test(too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
