#define _GNU_SOURCE
#include "kernels/cuda/choices.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/grow.h"
#include "codec/ecf8.h"

enum {
    LIBRARY = 16,
    DEVICE = 96,
    LINE = 512,
    MAX_ENTRIES = 4096,
    MAX_FILE = LINE * (MAX_ENTRIES + 1),
    LOCK_TRIES = 500, // of 10 ms: a process that was stopped while it held the lock stops no other
    LOCK_WAIT_NS = 10 * 1000 * 1000,
};

static const char header[] = "ecdit cuda algorithms 1\n";

typedef struct entry {
    char library[LIBRARY], device[DEVICE];
    uint64_t version;
    int64_t shape[ECD_CHOICE_SHAPE];
    ecd_choice choice;
} entry;

struct ecd_choices {
    char *file; // NULL: none
    int lock;   // -1: nothing can be written beside it
    char device[DEVICE];
    bool tune;
    entry *entries;
    size_t count, capacity;
};

// ---- a line

static bool print_line(const entry *e, char out[LINE])
{
    char body[LINE];
    int n = snprintf(body, sizeof body, "%s %" PRIu64 " %s %d", e->library, e->version, e->device, e->choice.timed);
    for (int i = 0; i < ECD_CHOICE_SHAPE && n < LINE; i++)
        n += snprintf(body + n, (size_t)(LINE - n), " %" PRId64, e->shape[i]);
    for (int i = 0; i < ECD_CHOICE_DATA && n < LINE; i++)
        n += snprintf(body + n, (size_t)(LINE - n), " %016" PRIx64, e->choice.data[i]);
    return n < LINE && snprintf(out, LINE, "%08" PRIx32 " %s", ecf8_crc32c(0, body, (size_t)n), body) < LINE;
}

// The next word, without the blank behind it.
static bool take_word(const char **at, char *out, size_t room)
{
    size_t length = strcspn(*at, " ");
    if (!length || length >= room)
        return false;
    memcpy(out, *at, length);
    out[length] = 0;
    *at += length + ((*at)[length] == ' ');
    return true;
}

static bool take_number(const char **at, int base, bool is_signed, uint64_t *out)
{
    char text[24], *end;
    if (!take_word(at, text, sizeof text))
        return false;
    *out = is_signed ? (uint64_t)strtoll(text, &end, base) : strtoull(text, &end, base);
    return !*end;
}

// What is read must print as it was read: CRC, spelling and all.
static bool parse_line(const char *line, entry *e)
{
    char again[LINE];
    uint64_t crc, timed, value;
    *e = (entry){0};
    const char *at = line;
    if (!take_number(&at, 16, false, &crc) || !take_word(&at, e->library, LIBRARY) ||
        !take_number(&at, 10, false, &e->version) || !take_word(&at, e->device, DEVICE) ||
        !take_number(&at, 10, false, &timed))
        return false;
    e->choice.timed = timed == 1;
    for (int i = 0; i < ECD_CHOICE_SHAPE; i++) {
        if (!take_number(&at, 10, true, &value))
            return false;
        e->shape[i] = (int64_t)value;
    }
    for (int i = 0; i < ECD_CHOICE_DATA; i++)
        if (!take_number(&at, 16, false, &e->choice.data[i]))
            return false;
    return !*at && print_line(e, again) && !strcmp(again, line);
}

// ---- entries in memory

static bool same_key(const entry *a, const entry *b)
{
    return a->version == b->version && !memcmp(a->shape, b->shape, sizeof a->shape) && !strcmp(a->library, b->library) &&
           !strcmp(a->device, b->device);
}

static entry entry_of(const ecd_choices *c, const ecd_choice_key *key)
{
    entry e = {.version = key->version};
    snprintf(e.library, sizeof e.library, "%s", key->library);
    memcpy(e.device, c->device, sizeof e.device);
    memcpy(e.shape, key->shape, sizeof e.shape);
    return e;
}

static entry *find(const ecd_choices *c, const entry *wanted)
{
    for (size_t i = 0; i < c->count; i++)
        if (same_key(&c->entries[i], wanted))
            return &c->entries[i];
    return NULL;
}

// In the place of an older one of its key; the oldest gives way where there are too many.
static void put(ecd_choices *c, const entry *e)
{
    entry *there = find(c, e);
    if (there) {
        *there = *e;
        return;
    }
    if (c->count == MAX_ENTRIES) {
        memmove(c->entries, c->entries + 1, (MAX_ENTRIES - 1) * sizeof *c->entries);
        c->count--;
    }
    entry *entries = ecd_grow(c->entries, c->count + 1, &c->capacity, sizeof *entries);
    if (!entries)
        return; // chosen anew next time
    c->entries = entries;
    entries[c->count++] = *e;
}

// ---- the file

static void read_file(ecd_choices *c)
{
    char *text = NULL;
    if (ecd_file_read_text(c->file, MAX_FILE, &text, NULL, NULL) == ECD_OK && !strncmp(text, header, strlen(header))) {
        char *rest = text + strlen(header), *line;
        while ((line = strsep(&rest, "\n"))) {
            entry e;
            if (parse_line(line, &e))
                put(c, &e);
        }
    }
    free(text);
}

static void write_file(const ecd_choices *c)
{
    char *text = NULL, line[LINE];
    size_t size = 0;
    FILE *out = c->lock < 0 ? NULL : open_memstream(&text, &size);
    if (!out)
        return;
    fputs(header, out);
    for (size_t i = 0; i < c->count; i++)
        if (print_line(&c->entries[i], line))
            fprintf(out, "%s\n", line);
    bool lost = ferror(out);
    lost = fclose(out) || lost;
    if (!lost)
        ecd_file_write(c->file, text, size, NULL); // failing to keep it is no fault
    free(text);
}

static bool lock(const ecd_choices *c)
{
    for (int i = 0; c->lock >= 0 && i < LOCK_TRIES; i++) {
        if (!flock(c->lock, LOCK_EX | LOCK_NB))
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
    }
    return false;
}

ecd_choices *ecd_choices_open(const char *file, const char *device, bool tune)
{
    ecd_choices *c = calloc(1, sizeof *c);
    char *beside = NULL;
    if (!c || (file && (!(c->file = strdup(file)) || asprintf(&beside, "%s.lock", file) < 0))) {
        if (c)
            free(c->file);
        free(c);
        return NULL;
    }
    snprintf(c->device, sizeof c->device, "%s", device);
    for (char *at = c->device; *at; at++)
        if (!isgraph((unsigned char)*at))
            *at = '_';
    c->lock = beside ? open(beside, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    c->tune = tune && c->lock >= 0;
    free(beside);
    if (c->file)
        read_file(c);
    return c;
}

void ecd_choices_close(ecd_choices *c)
{
    if (!c)
        return;
    if (c->lock >= 0)
        close(c->lock);
    free(c->file);
    free(c->entries);
    free(c);
}

static bool known(const ecd_choices *c, const entry *wanted, const ecd_choosing *how, ecd_choice *out)
{
    const entry *there = find(c, wanted);
    if (!there || (c->tune && !there->choice.timed) || !how->usable(how->user, &there->choice))
        return false;
    *out = there->choice;
    return true;
}

int ecd_choices_settle(ecd_choices *c, const ecd_choice_key *key, const ecd_choosing *how, ecd_choice *out)
{
    entry wanted = entry_of(c, key);
    if (!c->file)
        return how->choose(how->user, false, out);
    if (known(c, &wanted, how, out))
        return 0;
    int error = 0;
    bool locked = lock(c);
    read_file(c); // somebody else may have chosen meanwhile
    if (!known(c, &wanted, how, out)) {
        error = how->choose(how->user, c->tune, &wanted.choice);
        *out = wanted.choice;
        if (!error)
            put(c, &wanted);
        if (!error && locked)
            write_file(c);
    }
    if (locked)
        flock(c->lock, LOCK_UN);
    return error;
}
