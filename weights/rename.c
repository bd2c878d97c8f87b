#include "weights/rename.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MARKS = 4, MAX_DIGITS = 4 };

// What a mark stood for.
typedef struct span {
    const char *text;
    size_t size;
} span;

static bool is_mark(char c)
{
    return c == '#' || c == '*' || c == '~';
}

static size_t digits_of(const char *text)
{
    size_t count = 0;
    while (count <= MAX_DIGITS && text[count] >= '0' && text[count] <= '9')
        count++;
    return count;
}

// Does the whole name match? Fills spans[] in order.
static bool match(const char *pattern, const char *name, span *spans, int room)
{
    while (*pattern && !is_mark(*pattern))
        if (*pattern++ != *name++)
            return false;
    if (!*pattern)
        return !*name;
    if (!room)
        return false;
    if (*pattern != '*') {
        size_t digits = digits_of(name);
        *spans = (span){name, digits};
        return digits && digits <= MAX_DIGITS && match(pattern + 1, name + digits, spans + 1, room - 1);
    }
    for (size_t size = 0, length = strlen(name); size <= length; size++) {
        *spans = (span){name, size};
        if (match(pattern + 1, name + size, spans + 1, room - 1))
            return true;
    }
    return false;
}

static bool put(char *out, size_t room, size_t *used, const char *text, size_t size)
{
    if (size >= room - *used)
        return false;
    memcpy(out + *used, text, size);
    out[ *used += size] = 0;
    return true;
}

// A "~" on either side turns the number round.
static bool put_mark(char *out, size_t room, size_t *used, const span *s, bool turned, long last)
{
    char number[16];
    if (!turned)
        return put(out, room, used, s->text, s->size);
    long n = last - strtol(s->text, NULL, 10);
    return n >= 0 && put(out, room, used, number, (size_t)snprintf(number, sizeof number, "%ld", n));
}

static bool rename_by(const char *from, const char *to, const char *name, long last, char *out, size_t room)
{
    span spans[MAX_MARKS];
    char marks[MAX_MARKS + 1] = "";
    size_t used = 0;
    int count = 0, next = 0;
    if (!room || !match(from, name, spans, MAX_MARKS))
        return false;
    for (const char *c = from; *c; c++)
        if (is_mark(*c))
            marks[count++] = *c; // at most MAX_MARKS: it matched
    out[0] = 0;
    for (; *to; to++) {
        bool ok = !is_mark(*to) ? put(out, room, &used, to, 1)
                                : next < count &&
                                      put_mark(out, room, &used, &spans[next], *to == '~' || marks[next] == '~', last);
        next += is_mark(*to);
        if (!ok)
            return false;
    }
    return true;
}

bool ecd_rename(const char *from, const char *to, const char *name, long last, char *out, size_t room)
{
    return rename_by(from, to, name, last, out, room);
}

bool ecd_rename_back(const char *from, const char *to, const char *name, long last, char *out, size_t room)
{
    return rename_by(to, from, name, last, out, room);
}

long ecd_rename_number(const char *from, const char *name)
{
    span spans[MAX_MARKS];
    if (!match(from, name, spans, MAX_MARKS))
        return -1;
    for (int i = 0; *from; from++) {
        if (*from == '#')
            return strtol(spans[i].text, NULL, 10);
        i += is_mark(*from);
    }
    return -1;
}
