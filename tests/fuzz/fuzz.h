// What the targets share.
#ifndef ECD_TESTS_FUZZ_H
#define ECD_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

#define FUZZ_REQUIRE(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

// The CRC of zip and PNG (polynomial 0xedb88320), bit by bit: inputs are small.
static inline uint32_t fuzz_crc32(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

// Does a fault say what the program promises: a status of bad data, what was expected, and which file?
static inline void fuzz_check_fault(ecd_status status, const ecd_diag *diag)
{
    char line[4096];
    if (!status)
        return;
    FUZZ_REQUIRE(status == ECD_DATA || status == ECD_RESOURCE); // memory that a large count asks for may be refused
    FUZZ_REQUIRE(diag->status == status && diag->what[0] && (diag->file[0] || status == ECD_RESOURCE));
    FUZZ_REQUIRE(ecd_diag_format(diag, line, sizeof line) > 0 && !strchr(line, '\n'));
}

static inline void fuzz_touch(const uint8_t *data, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        (void)*(const volatile uint8_t *)(data + i);
}

typedef ecd_status fuzz_list(ecd_checkpoint *cp, const ecd_file *file, ecd_diag *diag);

// Opens bytes in memory as ecd_component_open opens a file, and reads every byte that a tensor claims. `component` NULL: all.
static inline void fuzz_open_as(const uint8_t *data, size_t size, fuzz_list *list, const char *component)
{
    bool found;
    static const char name[] = "input";
    ecd_diag diag = {0};
    ecd_checkpoint *cp = calloc(1, sizeof *cp);
    ecd_file *file = calloc(1, sizeof *file);
    FUZZ_REQUIRE(cp && file && (cp->files = calloc(1, sizeof *cp->files)));
    cp->files[cp->file_count++] = file;
    *file = (ecd_file){.data = size ? data : NULL, .size_bytes = size, .path = malloc(sizeof name)};
    FUZZ_REQUIRE(file->path);
    memcpy(file->path, name, sizeof name);
    ecd_status status = list(cp, file, &diag);
    if (!status)
        status = ecd_names_update(cp, &diag);
    if (!status)
        status = ecd_checkpoint_index(cp, &diag);
    if (!status)
        status = ecd_ecf8_resolve(cp, &diag);
    if (!status && component)
        status = ecd_component_select(cp, component, &found, &diag);
    if (!status)
        status = ecd_scales_attach(cp, &diag);
    fuzz_check_fault(status, &diag);
    for (size_t i = 0; !status && i < cp->count; i++) {
        const ecd_tensor *tensor = &cp->tensors[i];
        FUZZ_REQUIRE(ecd_checkpoint_find(cp, tensor->name) == tensor);
        fuzz_touch(tensor->data, tensor->size_bytes);
    }
    file->data = NULL; // not a mapping
    ecd_checkpoint_close(cp);
}

static inline void fuzz_open(const uint8_t *data, size_t size, fuzz_list *list)
{
    fuzz_open_as(data, size, list, NULL);
}

#endif
