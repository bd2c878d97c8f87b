#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITER_BUFFER = 1 << 20 }; // also of a read that fills the page cache

ecd_status ecd_file_map(const char *path, ecd_file *out, ecd_diag *diag)
{
    *out = (ecd_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ecd_fail_errno(diag, path, "open");
    ecd_status status = ECD_OK;
    struct stat info;
    if (fstat(fd, &info)) {
        status = ecd_fail_errno(diag, path, "read the size of");
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        status = ecd_fail(diag, ECD_USAGE, "not a regular file");
        ecd_diag_file(diag, path);
        goto out;
    }
    void *data = NULL;
    if (info.st_size > 0) {
        data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = ecd_fail_errno(diag, path, "map");
            goto out;
        }
    }
    *out = (ecd_file){.data = data, .size_bytes = (uint64_t)info.st_size, .path = strdup(path)};
    if (!out->path) {
        ecd_file_unmap(out);
        status = ecd_fail_memory(diag, strlen(path) + 1, "a path");
    }
out:
    close(fd);
    return status;
}

void ecd_file_unmap(ecd_file *file)
{
    if (file->data)
        munmap((void *)(uintptr_t)file->data, file->size_bytes);
    free(file->path);
    *file = (ecd_file){0};
}

static void advise(const ecd_file *file, uint64_t offset, uint64_t size, int advice)
{
    if (!file->data || offset >= file->size_bytes)
        return;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = offset / page * page;
    uint64_t end = size > file->size_bytes - offset ? file->size_bytes : offset + size;
    madvise((void *)(uintptr_t)(file->data + start), end - start, advice);
}

void ecd_file_will_need(const ecd_file *file, uint64_t offset_bytes, uint64_t size_bytes)
{
    advise(file, offset_bytes, size_bytes, MADV_WILLNEED);
}

void ecd_file_dont_need(const ecd_file *file, uint64_t offset_bytes, uint64_t size_bytes)
{
    advise(file, offset_bytes, size_bytes, MADV_DONTNEED);
}

void ecd_file_populate(const ecd_file *file, uint64_t offset_bytes, uint64_t size_bytes)
{
#ifdef MADV_POPULATE_READ
    advise(file, offset_bytes, size_bytes, MADV_POPULATE_READ);
#else
    advise(file, offset_bytes, size_bytes, 22); // Linux 5.14; older kernels refuse it, and fault
#endif
}

// Whether most of the mapping's pages are in the page cache. Looks at every SAMPLE-th page.
static bool is_cached(const ecd_file *file)
{
    enum { SAMPLE = 32 };
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), seen = 0, there = 0;
    for (uint64_t at = 0; at < file->size_bytes; at += SAMPLE * page, seen++) {
        unsigned char resident = 0;
        if (mincore((void *)(uintptr_t)(file->data + at), 1, &resident) == 0)
            there += resident & 1;
    }
    return there * 10 >= seen * 9;
}

void ecd_file_fetch(const ecd_file *file)
{
    if (!file->data || is_cached(file))
        return;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    void *unused = malloc(WRITER_BUFFER);
    ssize_t got;
    while (fd >= 0 && unused && ((got = read(fd, unused, WRITER_BUFFER)) > 0 || (got < 0 && errno == EINTR)))
        continue;
    free(unused);
    if (fd >= 0)
        close(fd);
}

static void writer_free(ecd_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd);
    free(writer->path);
    free(writer->temporary);
    free(writer->buffer);
    *writer = (ecd_writer){.fd = -1};
}

ecd_status ecd_writer_open(const char *path, ecd_writer *out, ecd_diag *diag)
{
    *out = (ecd_writer){.fd = -1, .path = strdup(path), .buffer = malloc(WRITER_BUFFER)};
    if (!out->path || !out->buffer || asprintf(&out->temporary, "%s.part-XXXXXX", path) < 0) {
        out->temporary = NULL;
        writer_free(out);
        return ecd_fail_memory(diag, WRITER_BUFFER, "a file writer");
    }
    out->fd = mkostemp(out->temporary, O_CLOEXEC);
    if (out->fd < 0) {
        ecd_status status = ecd_fail_errno(diag, path, "create");
        writer_free(out);
        return status;
    }
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(out->fd, 0666 & ~mask)) { // mkostemp's 0600 would surprise whoever shares the folder
        ecd_status status = ecd_fail_errno(diag, path, "set the mode of");
        ecd_writer_abandon(out);
        return status;
    }
    return ECD_OK;
}

// Lets the disk begin at once with large pieces, so that the sync at the end has little left to wait for. Advice only.
static void start_writing(const ecd_writer *writer, uint64_t offset, uint64_t size)
{
    if (size >= WRITER_BUFFER / 4)
        (void)sync_file_range(writer->fd, (off64_t)offset, (off64_t)size, SYNC_FILE_RANGE_WRITE);
}

static ecd_status write_all(ecd_writer *writer, const uint8_t *data, size_t size, ecd_diag *diag)
{
    while (size) {
        ssize_t done = write(writer->fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return ecd_fail_errno(diag, writer->path, "write");
        data += done;
        size -= (size_t)done;
    }
    return ECD_OK;
}

ecd_status ecd_writer_flush(ecd_writer *writer, ecd_diag *diag)
{
    ecd_status status = write_all(writer, writer->buffer, writer->buffered_bytes, diag);
    writer->buffered_bytes = 0;
    return status;
}

ecd_status ecd_writer_write(ecd_writer *writer, const void *data, size_t size_bytes, ecd_diag *diag)
{
    writer->written_bytes += size_bytes;
    if (size_bytes > WRITER_BUFFER - writer->buffered_bytes) {
        ecd_status status = ecd_writer_flush(writer, diag);
        if (status)
            return status;
    }
    if (size_bytes >= WRITER_BUFFER) {
        ecd_status status = write_all(writer, data, size_bytes, diag);
        start_writing(writer, writer->written_bytes - size_bytes, size_bytes);
        return status;
    }
    if (size_bytes)
        memcpy(writer->buffer + writer->buffered_bytes, data, size_bytes);
    writer->buffered_bytes += size_bytes;
    return ECD_OK;
}

ecd_status ecd_writer_patch(ecd_writer *writer, uint64_t offset_bytes, const void *data, size_t size_bytes, ecd_diag *diag)
{
    ecd_status status = writer->buffered_bytes ? ecd_writer_flush(writer, diag) : ECD_OK;
    if (status)
        return status;
    const uint8_t *bytes = data;
    const uint64_t begin = offset_bytes, size = size_bytes;
    while (size_bytes) {
        ssize_t done = pwrite(writer->fd, bytes, size_bytes, (off_t)offset_bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return ecd_fail_errno(diag, writer->path, "write");
        bytes += done;
        offset_bytes += (uint64_t)done;
        size_bytes -= (size_t)done;
    }
    start_writing(writer, begin, size);
    return ECD_OK;
}

ecd_status ecd_writer_commit(ecd_writer *writer, ecd_diag *diag)
{
    ecd_status status = ecd_writer_flush(writer, diag);
    if (!status && fsync(writer->fd))
        status = ecd_fail_errno(diag, writer->path, "sync");
    if (!status && rename(writer->temporary, writer->path))
        status = ecd_fail_errno(diag, writer->path, "rename into place");
    if (status)
        ecd_writer_abandon(writer);
    else
        writer_free(writer);
    return status;
}

void ecd_writer_abandon(ecd_writer *writer)
{
    if (writer->fd >= 0 && writer->temporary)
        unlink(writer->temporary);
    writer_free(writer);
}

ecd_status ecd_file_read_text(const char *path, size_t max_bytes, char **out, size_t *size_bytes, ecd_diag *diag)
{
    ecd_file file;
    *out = NULL;
    ecd_status status = ecd_file_map(path, &file, diag);
    if (status)
        return status;
    if (file.size_bytes > max_bytes) {
        status = ecd_fail(diag, ECD_DATA, "%llu bytes, expected at most %zu", (unsigned long long)file.size_bytes, max_bytes);
        ecd_diag_file(diag, path);
    } else if (!(*out = malloc(file.size_bytes + 1))) {
        status = ecd_fail_memory(diag, file.size_bytes + 1, path);
    } else {
        if (file.size_bytes)
            memcpy(*out, file.data, file.size_bytes);
        (*out)[file.size_bytes] = 0;
        if (size_bytes)
            *size_bytes = file.size_bytes;
    }
    ecd_file_unmap(&file);
    return status;
}

ecd_status ecd_file_write(const char *path, const void *data, size_t size_bytes, ecd_diag *diag)
{
    ecd_writer writer;
    ecd_status status = ecd_writer_open(path, &writer, diag);
    if (status)
        return status;
    status = ecd_writer_write(&writer, data, size_bytes, diag);
    if (status)
        ecd_writer_abandon(&writer);
    else
        status = ecd_writer_commit(&writer, diag);
    return status;
}

char *ecd_path_join(const char *folder, const char *name)
{
    char *path;
    size_t length = strlen(folder);
    const char *separator = length && folder[length - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", folder, separator, name) < 0 ? NULL : path;
}

char *ecd_temporary_name(void)
{
    const char *folder = getenv("TMPDIR");
    return ecd_path_join(folder && *folder ? folder : "/tmp", "ecdit-XXXXXX");
}

bool ecd_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool ecd_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}
