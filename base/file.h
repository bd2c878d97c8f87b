// Files: read-only mappings, and writers that leave either the whole file or none.
#ifndef ECD_BASE_FILE_H
#define ECD_BASE_FILE_H

#include "base/status.h"

// A whole file mapped read-only. `data` is NULL for an empty file.
typedef struct ecd_file {
    const uint8_t *data;
    uint64_t size_bytes;
    char *path; // owned
} ecd_file;

ecd_status ecd_file_map(const char *path, ecd_file *out, ecd_diag *diag);
void ecd_file_unmap(ecd_file *file); // leaves it zeroed; harmless twice

// Tells the kernel that bytes [offset, offset + size) are wanted soon, or no longer. Advice only, never fails.
void ecd_file_will_need(const ecd_file *file, uint64_t offset_bytes, uint64_t size_bytes);
void ecd_file_dont_need(const ecd_file *file, uint64_t offset_bytes, uint64_t size_bytes);
// Reads those bytes in now, all at once: cheaper than a fault for every few pages.
void ecd_file_populate(const ecd_file *file, uint64_t offset_bytes, uint64_t size_bytes);

// Reads a file through once, so that the page cache holds it, unless it does already: from a disk that is twice as fast as
// faulting a mapping in piece by piece. Advice only, never fails.
void ecd_file_fetch(const ecd_file *file);

// A file being written under a temporary name in the target's folder. Commit syncs and renames it into place;
// abandon removes it. Exactly one of the two ends a writer.
typedef struct ecd_writer {
    int fd;
    char *path;      // the final name, owned
    char *temporary; // owned
    uint8_t *buffer; // owned
    size_t buffered_bytes;
    uint64_t written_bytes; // position in the file, buffered bytes included
} ecd_writer;

ecd_status ecd_writer_open(const char *path, ecd_writer *out, ecd_diag *diag);
ecd_status ecd_writer_write(ecd_writer *writer, const void *data, size_t size_bytes, ecd_diag *diag);
// Writes at a place of its own: over bytes already written (a header whose content is known only at the end) or beyond
// them. Any threads may do so at once, to places that do not overlap, as long as nothing is buffered: after a flush.
ecd_status ecd_writer_flush(ecd_writer *writer, ecd_diag *diag);
ecd_status ecd_writer_patch(ecd_writer *writer, uint64_t offset_bytes, const void *data, size_t size_bytes, ecd_diag *diag);
ecd_status ecd_writer_commit(ecd_writer *writer, ecd_diag *diag);
void ecd_writer_abandon(ecd_writer *writer); // harmless after commit or a failed open

// The whole of a small text file (at most max_bytes), NUL-terminated; the caller frees *out. *size_bytes may be NULL.
ecd_status ecd_file_read_text(const char *path, size_t max_bytes, char **out, size_t *size_bytes, ecd_diag *diag);

// Writes a small file whole through a writer.
ecd_status ecd_file_write(const char *path, const void *data, size_t size_bytes, ecd_diag *diag);

// "folder/name" as a new string (the caller frees), NULL when memory is out.
char *ecd_path_join(const char *folder, const char *name);
// A name in $TMPDIR (else /tmp) for mkstemp to complete; likewise.
char *ecd_temporary_name(void);
bool ecd_path_exists(const char *path);
bool ecd_path_is_folder(const char *path);

#endif
