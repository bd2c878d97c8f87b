#include "torch_writer.h"

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

void pickle_bytes(pickled *p, const void *bytes, size_t size)
{
    if (p->room - p->size < size || !p->bytes) {
        p->room = 2 * (p->room + size) + 1;
        p->bytes = realloc(p->bytes, p->room);
        assert_non_null(p->bytes);
    }
    memcpy(p->bytes + p->size, bytes, size);
    p->size += size;
}

void pickle_text(pickled *p, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    PICKLE(p, "X");
    pickle_bytes(p, &length, sizeof length);
    pickle_bytes(p, text, length);
}

void pickle_int(pickled *p, int64_t value)
{
    PICKLE(p, "\x8a\x08");
    pickle_bytes(p, &value, sizeof value);
}

static void pickle_tuple(pickled *p, const int64_t *values, int count)
{
    PICKLE(p, "(");
    for (int i = 0; i < count; i++)
        pickle_int(p, values[i]);
    PICKLE(p, "t");
}

void pickle_tensor(pickled *p, const pickled_tensor *t)
{
    char line[128];
    PICKLE(p, "ctorch._utils\n_rebuild_tensor_v");
    pickle_bytes(p, t->dtype ? "3\n((" : "2\n((", 4);
    pickle_text(p, "storage");
    snprintf(line, sizeof line, "ctorch\n%s\n", t->storage);
    pickle_bytes(p, line, strlen(line));
    pickle_text(p, t->key);
    pickle_text(p, "cpu");
    pickle_int(p, t->elements);
    PICKLE(p, "tQ");
    pickle_int(p, t->offset);
    pickle_tuple(p, t->shape, t->dims);
    pickle_tuple(p, t->strides, t->dims);
    PICKLE(p, "\x89"
              "ccollections\nOrderedDict\n)R");
    if (t->dtype) {
        snprintf(line, sizeof line, "ctorch\n%s\n", t->dtype);
        pickle_bytes(p, line, strlen(line));
    }
    PICKLE(p, "tR");
}

void write_archive(const char *path, const archived *entries, size_t count)
{
    int error;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    assert_non_null(zip);
    for (size_t i = 0; i < count; i++) {
        char name[256];
        snprintf(name, sizeof name, "archive/%s", entries[i].name);
        zip_source_t *source = zip_source_buffer(zip, entries[i].data, entries[i].size, 0);
        zip_int64_t index = zip_file_add(zip, name, source, 0);
        assert_true(index >= 0);
        int method = entries[i].deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE;
        assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index, method, 9), 0);
        zip_file_set_mtime(zip, (zip_uint64_t)index, 315532800 + 86400, 0); // the same bytes each time
    }
    assert_int_equal(zip_close(zip), 0);
}

uint8_t *read_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

void write_bytes(const char *path, const void *data, size_t size)
{
    unlink(path); // never into a file that is mapped
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}
