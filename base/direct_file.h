// Reading stretches of large files past the page cache, into memory of one's own: O_DIRECT where the file system takes
// it, else pread and advice to drop the pages. A file that shrinks or fails gives a status, where a mapping would give
// SIGBUS.
#ifndef ECD_BASE_DIRECT_FILE_H
#define ECD_BASE_DIRECT_FILE_H

#include "base/status.h"

enum { ECD_DIRECT_ALIGN = 4096 }; // of memory, and of what is read

typedef struct ecd_direct_file {
    int fd; // -1: not open
    bool direct;
    char *path; // owned
} ecd_direct_file;

// Room that the bytes [offset, offset + size) take when they are read: whole units of ECD_DIRECT_ALIGN.
static inline uint64_t ecd_direct_room(uint64_t offset_bytes, uint64_t size_bytes)
{
    uint64_t inside = offset_bytes % ECD_DIRECT_ALIGN;
    return (inside + size_bytes + ECD_DIRECT_ALIGN - 1) / ECD_DIRECT_ALIGN * ECD_DIRECT_ALIGN;
}

// ECD_DATA if the file no longer has size_bytes.
ecd_status ecd_direct_open(const char *path, uint64_t size_bytes, ecd_direct_file *out, ecd_diag *diag);
void ecd_direct_close(ecd_direct_file *file); // harmless twice

// Reads [offset, offset + size) to memory + offset % ECD_DIRECT_ALIGN; `memory` is aligned and has ecd_direct_room. Any
// threads may read at once. ECD_DATA at a premature end, ECD_RESOURCE if the device fails; both name file and offset.
ecd_status ecd_direct_read(const ecd_direct_file *file, uint64_t offset_bytes, uint64_t size_bytes, uint8_t *memory,
                           ecd_diag *diag);

#endif
