// Class names to ids, and what was probably meant where there is none.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/model_folder.h"

enum { NAME_BYTES = 128, OFFERED = 3 };

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

// The next synonym of a list between commas, trimmed. Moves *list on; false at the end.
static bool next_name(const char **list, const char **name, size_t *length)
{
    const char *start = *list;
    if (!start || !*start)
        return false;
    size_t all = strcspn(start, ",");
    *list = start[all] ? start + all + 1 : start + all;
    while (all && strchr(" \t", start[0])) {
        start++;
        all--;
    }
    while (all && strchr(" \t", start[all - 1]))
        all--;
    *name = start;
    *length = all;
    return true;
}

static bool same_name(const char *a, size_t a_length, const char *b, size_t b_length)
{
    if (a_length != b_length)
        return false;
    for (size_t i = 0; i < a_length; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

// Damerau-Levenshtein distance in its restricted form: insert, delete, replace, swap neighbours; each costs 1.
static int edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int rows[3][NAME_BYTES + 1];
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= a_length; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            char x = lower(a[i - 1]), y = lower(b[j - 1]);
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y)
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

// How far a name is from what was typed. A part of a name ("owl" of "great grey owl") is a near miss too.
static int distance(const char *text, size_t length, const char *name, size_t name_length)
{
    if (length > NAME_BYTES || name_length > NAME_BYTES)
        return NAME_BYTES;
    int best = edit_distance(text, length, name, name_length);
    for (size_t at = 0; length >= 3 && at + length <= name_length; at++)
        if (same_name(text, length, name + at, length))
            best = least(best, 1);
    return best;
}

typedef struct offer {
    const char *name;
    size_t length;
    int distance;
} offer;

// Keeps the nearest names, nearest first; of equals the first seen.
static void consider(offer *offers, int *count, offer candidate)
{
    int place = *count;
    while (place > 0 && offers[place - 1].distance > candidate.distance)
        place--;
    if (place == OFFERED)
        return;
    int last = *count < OFFERED ? (*count)++ : OFFERED - 1;
    memmove(offers + place + 1, offers + place, (size_t)(last - place) * sizeof *offers);
    offers[place] = candidate;
}

static ecd_status fail_unknown(const ecd_model_folder *folder, const char *text, size_t length, ecd_diag *diag)
{
    offer offers[OFFERED];
    int count = 0;
    char list[OFFERED * (NAME_BYTES + 8)] = "";
    size_t used = 0;
    for (size_t i = 0; i < folder->label_count; i++) {
        const char *names = folder->labels[i].names, *name;
        size_t name_length;
        while (next_name(&names, &name, &name_length)) {
            int far = distance(text, length, name, name_length);
            if (name_length && far <= (int)(length / 2 + 1))
                consider(offers, &count, (offer){name, name_length, far});
        }
    }
    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%.*s\"", i ? ", " : "", (int)offers[i].length,
                                 offers[i].name);
    if (!folder->label_count)
        return ecd_fail(diag, ECD_USAGE, "unknown class \"%.*s\": the model names none, expected a number",
                        (int)(length < NAME_BYTES ? length : NAME_BYTES), text);
    return ecd_fail(diag, ECD_USAGE, "unknown class \"%.*s\", expected %s%s",
                    (int)(length < NAME_BYTES ? length : NAME_BYTES), text,
                    count ? "perhaps " : "a name or number that the model knows", list);
}

static ecd_status number_class(const char *text, size_t length, int64_t max_id, int64_t *out, ecd_diag *diag)
{
    int64_t id = 0;
    for (size_t i = 0; i < length && id <= max_id; i++)
        id = id * 10 + (text[i] - '0');
    if (id > max_id)
        return ecd_fail(diag, ECD_USAGE, "class %.*s, expected a number from 0 to %lld",
                        (int)(length < 40 ? length : 40), text, (long long)max_id);
    *out = id;
    return ECD_OK;
}

ecd_status ecd_model_folder_class(const ecd_model_folder *folder, const char *text, int64_t max_id, int64_t *out,
                                  ecd_diag *diag)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t length = strlen(text);
    while (length && strchr(" \t", text[length - 1]))
        length--;
    if (!length)
        return ecd_fail(diag, ECD_USAGE, "an empty class, expected a name or a number");
    if (strspn(text, "0123456789") >= length)
        return number_class(text, length, max_id < INT32_MAX ? max_id : INT32_MAX, out, diag);
    for (size_t i = 0; i < folder->label_count; i++) {
        const char *names = folder->labels[i].names, *name;
        size_t name_length;
        while (next_name(&names, &name, &name_length))
            if (same_name(text, length, name, name_length)) {
                *out = folder->labels[i].id;
                return ECD_OK;
            }
        // The whole list as written is a name too: it is what the PNG's recipe and id2label show.
        if (same_name(text, length, folder->labels[i].names, strlen(folder->labels[i].names))) {
            *out = folder->labels[i].id;
            return ECD_OK;
        }
    }
    return fail_unknown(folder, text, length, diag);
}

const char *ecd_model_folder_label(const ecd_model_folder *folder, int64_t id)
{
    size_t low = 0, high = folder->label_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (folder->labels[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < folder->label_count && folder->labels[low].id == id ? folder->labels[low].first : NULL;
}
