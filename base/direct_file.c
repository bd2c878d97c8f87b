#define _GNU_SOURCE
#include "base/direct_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Whether the file system reads this file directly: some accept the flag and refuse the reading.
static bool takes_direct(int fd, uint64_t size)
{
    void *memory = NULL;
    if (!size)
        return true;
    memory = aligned_alloc(ECD_DIRECT_ALIGN, ECD_DIRECT_ALIGN);
    bool taken = memory && pread(fd, memory, ECD_DIRECT_ALIGN, 0) > 0;
    free(memory);
    return taken;
}

static ecd_status check_size(int fd, const char *path, uint64_t size, ecd_diag *diag)
{
    struct stat info;
    if (fstat(fd, &info))
        return ecd_fail_errno(diag, path, "read the size of");
    if ((uint64_t)info.st_size == size)
        return ECD_OK;
    ecd_status status = ecd_fail(diag, ECD_DATA, "%lld bytes, expected %llu as before: the file has changed",
                                 (long long)info.st_size, (unsigned long long)size);
    ecd_diag_file(diag, path);
    return status;
}

ecd_status ecd_direct_open(const char *path, uint64_t size_bytes, ecd_direct_file *out, ecd_diag *diag)
{
    *out = (ecd_direct_file){.fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT)};
    out->direct = out->fd >= 0 && takes_direct(out->fd, size_bytes);
    if (!out->direct) {
        if (out->fd >= 0)
            close(out->fd);
        out->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (out->fd < 0)
            return ecd_fail_errno(diag, path, "open");
    }
    ecd_status status = check_size(out->fd, path, size_bytes, diag);
    if (!status && !(out->path = strdup(path)))
        status = ecd_fail_memory(diag, strlen(path) + 1, "a path");
    if (status)
        ecd_direct_close(out);
    return status;
}

void ecd_direct_close(ecd_direct_file *file)
{
    if (file->path || file->fd > 0) {
        close(file->fd);
        free(file->path);
    }
    *file = (ecd_direct_file){.fd = -1};
}

ecd_status ecd_direct_read(const ecd_direct_file *file, uint64_t offset_bytes, uint64_t size_bytes, uint8_t *memory,
                           ecd_diag *diag)
{
    uint64_t begin = offset_bytes / ECD_DIRECT_ALIGN * ECD_DIRECT_ALIGN, wanted = offset_bytes - begin + size_bytes;
    uint64_t room = ecd_direct_room(offset_bytes, size_bytes), done = 0;
    while (done < wanted) {
        ssize_t got = pread(file->fd, memory + done, (size_t)(room - done), (off_t)(begin + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            ecd_status status = ecd_fail_errno(diag, file->path, "read");
            ecd_diag_offset(diag, begin + done);
            return status;
        }
        done += (uint64_t)got;
        // A direct reading that stops off a unit has met the end of the file.
        if (done < wanted && (!got || (file->direct && done % ECD_DIRECT_ALIGN))) {
            ecd_status status = ecd_fail(diag, ECD_DATA, "the file ends here, expected %llu bytes more: it has shrunk",
                                         (unsigned long long)(wanted - done));
            ecd_diag_file(diag, file->path);
            ecd_diag_offset(diag, begin + done);
            return status;
        }
    }
    if (!file->direct)
        posix_fadvise(file->fd, (off_t)begin, (off_t)room, POSIX_FADV_DONTNEED);
    return ECD_OK;
}
