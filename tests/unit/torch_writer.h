// Hand-made torch files for the tests: pickles op by op, archives by libzip.
#ifndef ECD_TESTS_TORCH_WRITER_H
#define ECD_TESTS_TORCH_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes that grow; free(p.bytes) when done.
typedef struct pickled {
    uint8_t *bytes;
    size_t size, room;
} pickled;

void pickle_bytes(pickled *p, const void *bytes, size_t size);
#define PICKLE(p, text) pickle_bytes((p), (text), sizeof(text) - 1) // a literal's bytes, NULs included
void pickle_text(pickled *p, const char *text);                     // BINUNICODE
void pickle_int(pickled *p, int64_t value);                         // LONG1 of 8 bytes

// A tensor as torch.save writes it. `dtype` NULL: _rebuild_tensor_v2, else _rebuild_tensor_v3 with torch.<dtype>.
typedef struct pickled_tensor {
    const char *storage, *key; // "FloatStorage", "0"
    int64_t elements, offset;
    int dims;
    int64_t shape[10], strides[10];
    const char *dtype;
} pickled_tensor;

void pickle_tensor(pickled *p, const pickled_tensor *tensor);

typedef struct archived {
    const char *name; // within the archive's folder
    const void *data;
    size_t size;
    bool deflated;
} archived;

// Writes the archive; its entries lie in the folder "archive".
void write_archive(const char *path, const archived *entries, size_t count);

// The file's bytes (the caller frees), and back.
uint8_t *read_bytes(const char *path, size_t *size);
void write_bytes(const char *path, const void *data, size_t size);

#endif
