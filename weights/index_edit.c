// Edits a shard index as text, so that taking the edit away gives back the very bytes.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/json.h"

static const char KEPT_KEY[] = "\"source_total_size\"";
static const char JOINT[] = ", \"source_total_size\": "; // between the size as stored and the size decoded

// The first character of the value of `key`, which must stand in the text once; NULL if it does not.
static const char *value_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    if (!at || strstr(at + 1, key))
        return NULL;
    at += strlen(key);
    at += strspn(at, " \t\r\n");
    if (*at++ != ':')
        return NULL;
    return at + strspn(at, " \t\r\n");
}

static size_t number_length(const char *at)
{
    return strspn(at, "0123456789.+-eE");
}

// Entries of "weight_map", one a line, with a comma after each: the map holds entries already.
static bool print_scales(FILE *out, const ecd_index_scale *scales, size_t count)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        cJSON *name = cJSON_CreateString(scales[i].name), *file = cJSON_CreateString(scales[i].file);
        char *key = name ? cJSON_PrintUnformatted(name) : NULL, *value = file ? cJSON_PrintUnformatted(file) : NULL;
        ok = key && value && fprintf(out, "\n    %s: %s,", key, value) > 0;
        cJSON_free(key);
        cJSON_free(value);
        cJSON_Delete(name);
        cJSON_Delete(file);
    }
    return ok;
}

// Copies the text with what the change inserts at its two places, whichever comes first.
static bool print_marked(FILE *out, const char *text, const char *map, const char *size,
                         const ecd_index_change *change)
{
    bool ok = true;
    for (const char *at = text; ok;) {
        const char *next = map && (!size || map < size) ? map : size;
        if (!next)
            return fputs(at, out) >= 0;
        ok = fwrite(at, 1, (size_t)(next - at), out) == (size_t)(next - at);
        at = next;
        if (next == map) {
            ok = ok && print_scales(out, change->scales, change->scale_count);
            map = NULL;
            continue;
        }
        ok = ok && fprintf(out, "%llu%s", (unsigned long long)change->stored_bytes, JOINT) > 0;
        if (change->scale_count) { // the tensors are not those of the source: neither is their size
            ok = ok && fprintf(out, "%llu", (unsigned long long)change->plain_bytes) > 0;
            at += number_length(at);
        }
        size = NULL;
    }
    return false;
}

ecd_status ecd_index_mark(const char *text, const ecd_index_change *change, char **out, ecd_diag *diag)
{
    size_t length = 0;
    *out = NULL;
    if (strstr(text, KEPT_KEY))
        return ecd_fail(diag, ECD_USAGE, "the index says that the folder is compressed already");
    const char *map = change->scale_count ? value_of(text, "\"weight_map\"") : NULL;
    const char *size = value_of(text, "\"total_size\"");
    if (change->scale_count && (!map || *map != '{'))
        return ecd_fail(diag, ECD_DATA, "no single \"weight_map\", expected one object of tensor: file");
    if (size && !number_length(size))
        size = NULL;
    FILE *stream = open_memstream(out, &length);
    bool ok = stream && print_marked(stream, text, map ? map + 1 : NULL, size, change);
    if (stream && fclose(stream))
        ok = false;
    if (ok)
        return ECD_OK;
    free(*out);
    *out = NULL;
    return ecd_fail_memory(diag, strlen(text), "an index");
}

ecd_status ecd_index_unmark(const char *text, char **out, ecd_diag *diag)
{
    const char *joint = strstr(text, JOINT), *start = joint;
    *out = NULL;
    if (!joint)
        return ECD_OK;
    while (start > text && start[-1] >= '0' && start[-1] <= '9')
        start--;
    if (asprintf(out, "%.*s%s", (int)(start - text), text, joint + strlen(JOINT)) >= 0)
        return ECD_OK;
    *out = NULL;
    return ecd_fail_memory(diag, strlen(text), "an index");
}

char *ecd_index_renamed(const char *text)
{
    static const char old_end[] = ".bin\"", new_end[] = ".safetensors\"";
    char *out = malloc(strlen(text) * 3 + 1), *to = out; // an end grows from 5 characters to 13
    for (const char *at = text; out && *at;) {
        bool hit = !strncmp(at, old_end, sizeof old_end - 1);
        const char *piece = hit ? new_end : at;
        size_t length = hit ? sizeof new_end - 1 : 1;
        memcpy(to, piece, length);
        to += length;
        at += hit ? sizeof old_end - 1 : 1;
    }
    if (out)
        *to = 0;
    return out;
}
