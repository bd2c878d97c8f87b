// Target: torch files. An input that starts with "PK" is the archive; any other is the pickle of a sound archive whose
// storages 0 and 1 hold 64 and 8 bytes.
#include "fuzz.h"

typedef struct archive {
    uint8_t *bytes;
    size_t size;
} archive;

static void put(archive *a, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        a->bytes[a->size++] = (uint8_t)(value >> 8 * i);
}

// The fields that local and central headers share (APPNOTE.TXT 4.3.7 and 4.3.12), from "version needed" on.
static void put_common(archive *a, const char *name, const uint8_t *data, size_t size)
{
    put(a, 20, 2);
    put(a, 0, 4);          // flags, method: stored
    put(a, 0x00210000, 4); // the first day of 1980
    put(a, fuzz_crc32(data, size), 4);
    put(a, size, 4);
    put(a, size, 4);
    put(a, strlen(name), 2);
    put(a, 0, 2);
}

static void put_bytes(archive *a, const void *data, size_t size)
{
    if (size)
        memcpy(a->bytes + a->size, data, size);
    a->size += size;
}

static void open_pickle(const uint8_t *pickle, size_t size)
{
    static const uint8_t storage[64] = {0, 0, 0x80, 0x3f, 0, 0x3c};
    static const char *const names[] = {"a/data.pkl", "a/data/0", "a/data/1"};
    const uint8_t *data[] = {pickle, storage, storage};
    const size_t sizes[] = {size, 64, 8};
    size_t at[3];
    archive a = {.bytes = malloc(size + 1024)};
    FUZZ_REQUIRE(a.bytes);
    for (int i = 0; i < 3; i++) {
        at[i] = a.size;
        put(&a, 0x04034b50, 4);
        put_common(&a, names[i], data[i], sizes[i]);
        put_bytes(&a, names[i], strlen(names[i]));
        put_bytes(&a, data[i], sizes[i]);
    }
    size_t directory = a.size;
    for (int i = 0; i < 3; i++) {
        put(&a, 0x02014b50, 4);
        put(&a, 20, 2);
        put_common(&a, names[i], data[i], sizes[i]);
        put(&a, 0, 6); // comment, disk, internal attributes
        put(&a, 0, 4);
        put(&a, at[i], 4);
        put_bytes(&a, names[i], strlen(names[i]));
    }
    size_t length = a.size - directory;
    put(&a, 0x06054b50, 4);
    put(&a, 0, 4);
    put(&a, 3, 2);
    put(&a, 3, 2);
    put(&a, length, 4);
    put(&a, directory, 4);
    put(&a, 0, 2);
    uint8_t *exact = realloc(a.bytes, a.size);
    FUZZ_REQUIRE(exact);
    fuzz_open(exact, a.size, ecd_torch_list);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size >= 2 && input[0] == 'P' && input[1] == 'K')
        fuzz_open(input, size, ecd_torch_list);
    else
        open_pickle(input, size);
    return 0;
}
