// What a compressed file says of the original.
#define _GNU_SOURCE
#include "weights/compress_header.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "weights/coded.h"
#include "weights/json.h"

char *ecd_join(const char *a, const char *b)
{
    size_t first = strlen(a), second = strlen(b);
    char *out = malloc(first + second + 1);
    if (out) {
        memcpy(out, a, first);
        memcpy(out + first, b, second + 1);
    }
    return out;
}

bool ecd_original_quantizes(const ecd_original *original, const ecd_tensor *tensor)
{
    return original->quantize && tensor->dtype >= ECD_F32 && tensor->dtype <= ECD_BF16 && ecd_quantize_wants(tensor);
}

const char *ecd_original_dtype(const ecd_original *original, const ecd_tensor *tensor)
{
    if (tensor->dtype)
        return ecd_dtype_name(tensor->dtype);
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(original->header, tensor->name);
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    return cJSON_IsString(dtype) ? dtype->valuestring : "";
}

static bool plain_add(cJSON *header, const char *name, const char *dtype, const int64_t *shape, int dims, uint64_t size,
                      uint64_t *at)
{
    cJSON *entry = ecd_tensors_entry(dtype, shape, dims, *at, *at + size);
    *at += size;
    if (entry && cJSON_AddItemToObject(header, name, entry))
        return true;
    cJSON_Delete(entry);
    return false;
}

static bool plain_add_quantized(cJSON *header, const ecd_tensor *tensor, uint64_t *at)
{
    int64_t shape[2] = {tensor->shape[0], 1};
    char *name = ecd_join(tensor->name, "_scale");
    bool ok = name &&
              plain_add(header, tensor->name, ecd_dtype_name(ECD_E4M3), tensor->shape, tensor->dims, tensor->count, at) &&
              plain_add(header, name, ecd_dtype_name(ECD_F32), shape, 2, (uint64_t)shape[0] * sizeof(float), at);
    free(name);
    return ok;
}

static uint64_t plain_bytes(const ecd_tensor *t)
{
    return t->encoding == ECD_ENCODING_RAW ? t->size_bytes : t->count * ecd_dtype_size(t->dtype);
}

// The notes that we write: the new file gets its own.
static void drop_notes(cJSON *metadata)
{
    for (cJSON *entry = metadata->child, *next; entry; entry = next) {
        next = entry->next;
        if (!strncmp(entry->string, "ecf8.", 5))
            cJSON_Delete(cJSON_DetachItemViaPointer(metadata, entry));
    }
}

// The header of a file that cannot be given back as it was: torch's, one whose weights are quantised, or published ECF8
// that others wrote.
static char *make_plain(const ecd_original *o)
{
    cJSON *header = cJSON_CreateObject(), *metadata = cJSON_Duplicate(o->metadata, 1);
    bool ok = header && metadata && cJSON_AddItemToObject(header, "__metadata__", metadata);
    uint64_t at = 0;
    for (size_t i = 0; ok && i < o->cp->count; i++) {
        const ecd_tensor *t = &o->cp->tensors[i];
        ok = ecd_original_quantizes(o, t)
                 ? plain_add_quantized(header, t, &at)
                 : plain_add(header, t->name, ecd_original_dtype(o, t), t->shape, t->dims, plain_bytes(t), &at);
    }
    char *text = ok ? cJSON_PrintUnformatted(header) : NULL, *padded = NULL;
    size_t length = text ? strlen(text) : 0, whole = (length + 7) / 8 * 8;
    if (text && (padded = malloc(whole + 1))) {
        memcpy(padded, text, length);
        memset(padded + length, ' ', whole - length);
        padded[whole] = 0;
    }
    cJSON_free(text);
    if (!header || !metadata)
        cJSON_Delete(metadata);
    cJSON_Delete(header);
    return padded;
}

static ecd_status make_header(ecd_original *o, ecd_diag *diag)
{
    o->metadata = cJSON_CreateObject();
    bool ok = o->metadata && cJSON_AddStringToObject(o->metadata, "format", "pt");
    o->plain = ok ? make_plain(o) : NULL;
    return o->plain ? ECD_OK : ecd_fail_memory(diag, 1024, "a header");
}

ecd_status ecd_original_read(ecd_original *original, ecd_diag *diag)
{
    ecd_original *o = original;
    const ecd_file *file = o->cp->files[0];
    if (o->remade)
        return make_header(o, diag);
    size_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | file->data[i];
    const char *text = (const char *)file->data + 8; // checked by ecd_safetensors_list
    ecd_status status = ecd_json_parse(text, length, 8, &o->header, diag);
    if (status)
        return status;
    bool quantized = false;
    for (size_t i = 0; i < o->cp->count; i++)
        quantized |= ecd_original_quantizes(o, &o->cp->tensors[i]);
    o->kept = !quantized && !o->expand;
    o->metadata = cJSON_DetachItemFromObjectCaseSensitive(o->header, "__metadata__");
    if (!cJSON_IsObject(o->metadata)) {
        cJSON_Delete(o->metadata);
        o->metadata = cJSON_CreateObject();
    }
    const char *noted = o->expand && !quantized ? ecd_note_value(o->cp, "header") : NULL;
    if (o->metadata && o->expand)
        drop_notes(o->metadata);
    o->plain = !o->metadata ? NULL : noted ? strdup(noted) : o->kept ? strndup(text, length) : make_plain(o);
    return o->plain ? ECD_OK : ecd_fail_memory(diag, length, "a header");
}

void ecd_original_free(ecd_original *original)
{
    cJSON_Delete(original->header);
    cJSON_Delete(original->metadata);
    free(original->plain);
    original->header = original->metadata = NULL;
    original->plain = NULL;
}

// The length of a string as JSON, its quotes included.
static uint64_t printed_length(const char *text)
{
    cJSON *string = cJSON_CreateString(text);
    char *printed = string ? cJSON_PrintUnformatted(string) : NULL;
    uint64_t length = printed ? strlen(printed) : 6 * strlen(text) + 2; // nothing is longer than \u0000
    cJSON_free(printed);
    cJSON_Delete(string);
    return length;
}

static uint64_t digits_of(uint64_t value)
{
    uint64_t digits = 1;
    for (; value >= 10; value /= 10)
        digits++;
    return digits;
}

// No header of this file is longer: every tensor under its own name and ".ecf8", with its note, and every offset as wide
// as the last one can be. Names count as they are printed.
uint64_t ecd_original_room(const ecd_original *original, const size_t *twins)
{
    char *metadata = cJSON_PrintUnformatted(original->metadata);
    uint64_t room = 512 + printed_length(original->plain) + (metadata ? strlen(metadata) : 0);
    uint64_t data_bytes = 0, longest = 0;
    for (size_t i = 0; i < original->cp->count; i++) {
        const ecd_tensor *t = &original->cp->tensors[i];
        uint64_t name = printed_length(t->name);
        longest = name > longest ? name : longest;
        data_bytes += plain_bytes(t) + (ecd_original_quantizes(original, t) ? (uint64_t)t->shape[0] * sizeof(float) : 0);
    }
    uint64_t digits = digits_of(data_bytes);
    for (size_t i = 0; i < original->cp->count; i++) {
        const ecd_tensor *t = &original->cp->tensors[i];
        uint64_t name = printed_length(t->name), shape = digits;
        for (int d = 0; d < t->dims; d++)
            shape += digits_of((uint64_t)t->shape[d]) + 1;
        room += 64 + name + 2 * digits + shape + (t->dtype ? 0 : printed_length(ecd_original_dtype(original, t)));
        if (twins[i] != i)
            room += 32 + name + longest;
        else if (t->dims != 2 && ecd_coded_dtype(t->dtype))
            room += 32 + name + shape;
        if (ecd_original_quantizes(original, t))
            room += 80 + name + 2 * digits + shape;
    }
    cJSON_free(metadata);
    return room;
}
