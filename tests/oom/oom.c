#define _GNU_SOURCE
#include "oom/oom.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t size);
int __real_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_vasprintf(char **out, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t size);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);

enum { LIVE_SLOTS = 1 << 18 };

// Blocks that the run has allocated and not freed: an open-addressed set (linear probing, backward-shift deletion).
static struct {
    pthread_mutex_t lock;
    bool watching;
    long fail_at; // 0: none
    long count;
    bool failed;
    bool overflow;
    long mappings;
    size_t live;
    uintptr_t slots[LIVE_SLOTS];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t home_of(uintptr_t key)
{
    return (size_t)((uint64_t)key * UINT64_C(0x9e3779b97f4a7c15) >> 46) % LIVE_SLOTS;
}

static void remember(const void *memory)
{
    if (!memory)
        return;
    pthread_mutex_lock(&state.lock);
    if (state.watching && state.live < LIVE_SLOTS / 2) {
        size_t i = home_of((uintptr_t)memory);
        while (state.slots[i])
            i = (i + 1) % LIVE_SLOTS;
        state.slots[i] = (uintptr_t)memory;
        state.live++;
    } else if (state.watching) {
        state.overflow = true;
    }
    pthread_mutex_unlock(&state.lock);
}

static void forget(uintptr_t key)
{
    pthread_mutex_lock(&state.lock);
    size_t i = home_of(key);
    while (state.slots[i] && state.slots[i] != key)
        i = (i + 1) % LIVE_SLOTS;
    if (key && state.slots[i]) {
        state.live--;
        for (size_t hole = i;;) {
            i = (i + 1) % LIVE_SLOTS;
            if (!state.slots[i]) {
                state.slots[hole] = 0;
                break;
            }
            size_t home = home_of(state.slots[i]);
            if ((i - home + LIVE_SLOTS) % LIVE_SLOTS >= (i - hole + LIVE_SLOTS) % LIVE_SLOTS) {
                state.slots[hole] = state.slots[i];
                hole = i;
            }
        }
    }
    pthread_mutex_unlock(&state.lock);
}

// Counts an allocation; true if it is the one to fail.
static bool fails(void)
{
    pthread_mutex_lock(&state.lock);
    bool now = state.watching && ++state.count == state.fail_at;
    state.failed |= now;
    pthread_mutex_unlock(&state.lock);
    if (now)
        errno = ENOMEM;
    return now;
}

void *__wrap_malloc(size_t size)
{
    void *memory = fails() ? NULL : __real_malloc(size);
    remember(memory);
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = fails() ? NULL : __real_calloc(count, size);
    remember(memory);
    return memory;
}

void *__wrap_realloc(void *old, size_t size)
{
    if (fails())
        return NULL;
    uintptr_t key = (uintptr_t)old;
    void *memory = __real_realloc(old, size);
    if (memory) {
        forget(key);
        remember(memory);
    }
    return memory;
}

void __wrap_free(void *memory)
{
    forget((uintptr_t)memory);
    __real_free(memory);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (fails())
        return ENOMEM;
    int error = __real_posix_memalign(out, alignment, size);
    if (!error)
        remember(*out);
    return error;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    void *memory = fails() ? NULL : __real_aligned_alloc(alignment, size);
    remember(memory);
    return memory;
}

char *__wrap_strdup(const char *text)
{
    char *copy = fails() ? NULL : __real_strdup(text);
    remember(copy);
    return copy;
}

char *__wrap_strndup(const char *text, size_t size)
{
    char *copy = fails() ? NULL : __real_strndup(text, size);
    remember(copy);
    return copy;
}

int __wrap_vasprintf(char **out, const char *format, va_list args)
{
    va_list measured;
    va_copy(measured, args);
    int length = vsnprintf(NULL, 0, format, measured);
    va_end(measured);
    char *text = length < 0 || fails() ? NULL : __real_malloc((size_t)length + 1);
    if (!text)
        return -1; // and *out is undefined, as glibc leaves it
    vsnprintf(text, (size_t)length + 1, format, args);
    remember(text);
    *out = text;
    return length;
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = __wrap_vasprintf(out, format, args);
    va_end(args);
    return length;
}

static void count_mapping(long change)
{
    pthread_mutex_lock(&state.lock);
    if (state.watching)
        state.mappings += change;
    pthread_mutex_unlock(&state.lock);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *mapping = fails() ? MAP_FAILED : __real_mmap(at, size, protection, flags, fd, offset);
    if (mapping != MAP_FAILED)
        count_mapping(1);
    return mapping;
}

int __wrap_munmap(void *at, size_t size)
{
    int error = __real_munmap(at, size);
    if (!error)
        count_mapping(-1);
    return error;
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    return fails() ? EAGAIN : __real_pthread_create(out, attributes, start, argument);
}

static long open_files(void)
{
    long count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

static void watch(long fail_at)
{
    pthread_mutex_lock(&state.lock);
    state.fail_at = fail_at;
    state.count = state.mappings = 0;
    state.failed = state.overflow = false;
    state.live = 0;
    memset(state.slots, 0, sizeof state.slots);
    state.watching = true;
    pthread_mutex_unlock(&state.lock);
}

static void unwatch(void)
{
    pthread_mutex_lock(&state.lock);
    state.watching = false;
    pthread_mutex_unlock(&state.lock);
}

// What does not hold after a run; false if something was found.
static bool holds(ecd_status status, const ecd_diag *diag, long files, ecd_oom_result *out)
{
    char line[384] = "";
    ecd_diag_format(diag, line, sizeof line);
    const char *what = NULL;
    if (state.overflow)
        what = "more blocks than the test can watch";
    else if (!state.failed && status)
        what = "fails although no allocation failed";
    else if (state.failed && status && status != ECD_RESOURCE)
        what = "the status is not ECD_RESOURCE";
    else if (status && !diag->what[0])
        what = "the diagnosis is empty";
    else if (state.live)
        what = "blocks are not freed";
    else if (state.mappings)
        what = "mappings are left (or too many undone)";
    else if (open_files() != files)
        what = "files are left open";
    if (!what)
        return true;
    snprintf(out->fault, sizeof out->fault, "allocation %ld of it failing: %s (status %d, %zu blocks, %ld mappings, %s)",
             state.fail_at, what, (int)status, state.live, state.mappings, line);
    return false;
}

// Frees what a run left, once it has been reported: a leak checker should speak only of what was overlooked here.
static void free_left(void)
{
    for (size_t i = 0; i < LIVE_SLOTS; i++)
        if (state.slots[i])
            __real_free((void *)state.slots[i]);
}

void ecd_oom_run(ecd_oom_attempt attempt, void *user, long every, ecd_oom_result *out)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = __wrap_malloc, .free_fn = __wrap_free});
    *out = (ecd_oom_result){0};
    ecd_diag warm = {0};
    attempt(user, &warm); // what a library allocates once and keeps (locales, OpenMP's pool) is no leak
    long files = open_files();
    for (long n = 1;; n += 1 + n / every) {
        ecd_diag diag = {0};
        watch(n);
        ecd_status status = attempt(user, &diag);
        unwatch();
        if (!holds(status, &diag, files, out)) {
            free_left();
            return;
        }
        if (!state.failed) {
            out->allocations = state.count;
            return;
        }
        out->runs++;
    }
}
