// Many results of the same length, kept until they are wanted: in memory while they are few, else in a temporary file
// that has no name ($TMPDIR or /tmp).
#ifndef ECD_LIB_SHELF_H
#define ECD_LIB_SHELF_H

#include "base/status.h"

enum { ECD_SHELF_MEMORY_BYTES = 64 << 20 };

typedef struct ecd_shelf {
    float *memory; // NULL where they are in the file
    int file;      // -1: none
    size_t count, floats;
} ecd_shelf;

// Room for `count` (at least one) of `floats` each. Free with ecd_shelf_free.
ecd_status ecd_shelf_new(size_t count, size_t floats, ecd_shelf *out, ecd_diag *diag);
void ecd_shelf_free(ecd_shelf *shelf); // leaves it zeroed; harmless twice
ecd_status ecd_shelf_put(ecd_shelf *shelf, size_t index, const float *values, ecd_diag *diag);
ecd_status ecd_shelf_take(const ecd_shelf *shelf, size_t index, float *values, ecd_diag *diag);
uint64_t ecd_shelf_memory_bytes(const ecd_shelf *shelf);

#endif
