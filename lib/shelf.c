#define _GNU_SOURCE
#include "lib/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static ecd_status fail(ecd_diag *diag, const char *doing)
{
    return ecd_fail(diag, ECD_RESOURCE, "cannot %s a temporary file (in $TMPDIR): %s", doing, strerror(errno));
}

static ecd_status open_file(ecd_shelf *shelf, ecd_diag *diag)
{
    char *path = ecd_temporary_name();
    if (!path)
        return ecd_fail_memory(diag, 0, "a path");
    shelf->file = mkostemp(path, O_CLOEXEC);
    ecd_status status = shelf->file < 0 ? fail(diag, "make") : ECD_OK;
    if (!status)
        unlink(path);
    free(path);
    return status;
}

ecd_status ecd_shelf_new(size_t count, size_t floats, ecd_shelf *out, ecd_diag *diag)
{
    *out = (ecd_shelf){.file = -1, .count = count, .floats = floats};
    if (floats && count > SIZE_MAX / sizeof(float) / floats)
        return ecd_fail_memory(diag, UINT64_MAX, "the texts");
    if (count * floats * sizeof(float) > ECD_SHELF_MEMORY_BYTES)
        return open_file(out, diag);
    out->memory = calloc(count * floats + 1, sizeof(float));
    return out->memory ? ECD_OK : ecd_fail_memory(diag, count * floats * sizeof(float), "the texts");
}

void ecd_shelf_free(ecd_shelf *shelf)
{
    free(shelf->memory);
    if (shelf->count && !shelf->memory && shelf->file >= 0)
        close(shelf->file);
    *shelf = (ecd_shelf){0};
}

ecd_status ecd_shelf_put(ecd_shelf *shelf, size_t index, const float *values, ecd_diag *diag)
{
    size_t bytes = shelf->floats * sizeof(float);
    if (shelf->memory) {
        memcpy(shelf->memory + index * shelf->floats, values, bytes);
        return ECD_OK;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t wrote = pwrite(shelf->file, (const char *)values + done, bytes - done, (off_t)(index * bytes + done));
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return fail(diag, "write");
        done += (size_t)wrote;
    }
    return ECD_OK;
}

ecd_status ecd_shelf_take(const ecd_shelf *shelf, size_t index, float *values, ecd_diag *diag)
{
    size_t bytes = shelf->floats * sizeof(float);
    if (shelf->memory) {
        memcpy(values, shelf->memory + index * shelf->floats, bytes);
        return ECD_OK;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(shelf->file, (char *)values + done, bytes - done, (off_t)(index * bytes + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail(diag, "read");
        done += (size_t)got;
    }
    return ECD_OK;
}

uint64_t ecd_shelf_memory_bytes(const ecd_shelf *shelf)
{
    return shelf->memory ? shelf->count * shelf->floats * sizeof(float) : 0;
}
