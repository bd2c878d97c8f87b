// A library to be preloaded: reading or writing fails for files with a word in their path, after so many bytes.
//
//   ECD_FAIL_CALL=read|write   what fails: read with EIO, write with ENOSPC
//   ECD_FAIL_PATH=WORD         in the file's path
//   ECD_FAIL_AFTER=BYTES       that go well before, all such files together
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_llong done_bytes;

// Whether this call is one that fails; one that does not is counted.
static int fails(int fd, const char *call, size_t size)
{
    char link[64], path[4096];
    const char *wanted = getenv("ECD_FAIL_CALL"), *word = getenv("ECD_FAIL_PATH"), *after = getenv("ECD_FAIL_AFTER");
    int before = errno;
    if (!wanted || !word || strcmp(wanted, call))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, word))
        return 0;
    if (atomic_fetch_add(&done_bytes, (long long)size) + (long long)size <= (after ? atoll(after) : 0))
        return 0;
    errno = strcmp(call, "read") ? ENOSPC : EIO;
    return 1;
}

#pragma GCC visibility push(default) // the build hides what is not said to be seen

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *buffer, size_t size)
{
    return fails(fd, "read", size) ? -1 : NEXT(read)(fd, buffer, size);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
    return fails(fd, "read", size) ? -1 : NEXT(pread)(fd, buffer, size, offset);
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
    return fails(fd, "read", size) ? -1 : NEXT(pread64)(fd, buffer, size, offset);
}

ssize_t write(int fd, const void *buffer, size_t size)
{
    return fails(fd, "write", size) ? -1 : NEXT(write)(fd, buffer, size);
}

ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    return fails(fd, "write", size) ? -1 : NEXT(pwrite)(fd, buffer, size, offset);
}

ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset)
{
    return fails(fd, "write", size) ? -1 : NEXT(pwrite64)(fd, buffer, size, offset);
}
